//! 64 clients call a pure function, each call in a sandbox of its own; beside what answers as much without
//! one.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::{
    baseline::Baseline,
    client::{Connection, closed, request},
    service::Service,
};
use crate::{
    measure::median,
    table::{Bound, Table},
};

const CLIENTS: usize = 64;
const ROUNDS: usize = 7;
const BLOCK: Duration = Duration::from_secs(2);

const FILE: &str = "
[tenant.acme]
[tenant.acme.tool.hello]
";

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let service = Service::start(FILE, "")?;
    let (echo, route) = (Baseline::start("echo")?, Baseline::start("route")?);
    let path = "/v1/tools/hello/functions/greet/call";
    let request = request("POST", path, &service.key("acme")?, r#"{"arguments":{"name":"Ann"}}"#);
    let sides = [service.address, echo.address, route.address];
    let runtime = Runtime::new()?;
    let (mut rates, mut tails) = (vec![vec![]; 3], vec![vec![]; 3]);
    runtime.block_on(async {
        let mut one = Connection::open(service.address).await?;
        ensure!(one.ask(&request).await? == 200, "{}", String::from_utf8_lossy(one.body()));
        // The first round warms up, and is not counted.
        for round in 0..=ROUNDS {
            for at in 0..3 {
                let at = (at + round) % 3;
                let mut block = closed(sides[at], CLIENTS, &request, BLOCK).await?;
                ensure!(block.refused == 0, "{} were refused", block.refused);
                if round > 0 {
                    rates[at].push(block.rate());
                    tails[at].push(block.p99());
                }
            }
        }
        anyhow::Ok(())
    })?;
    let ratio = |of: &[Vec<f64>], to: usize| {
        median(&mut of[0].iter().zip(&of[to]).map(|(ours, its)| ours / its).collect::<Vec<_>>())
    };
    for (at, what) in ["ours", "bare hyper echo", "axum route"].iter().enumerate() {
        let (rate, tail) = (median(&mut rates[at].clone()), median(&mut tails[at].clone()));
        table.row(&format!("{what}: requests/s"), format!("{rate:.0}"), "");
        table.row(&format!("{what}: p99"), format!("{:.2} ms", tail / 1_000.0), "");
    }
    let least = |aim, must| Bound::AtLeast { aim, must };
    table.bounded("requests/s to the echo's", ratio(&rates, 1), "×", least(0.35, 0.35));
    table.bounded("requests/s to the route's", ratio(&rates, 2), "×", least(0.75, 0.6));
    let most = Bound::AtMost { aim: 3.0, must: 3.0 };
    table.bounded("p99 to the echo's", ratio(&tails, 1), "×", most);
    Ok(())
}
