//! How much there is to do, as instruments beside those of what happened.

use ringfence::{PlaceLoad, Runtime, SharedLoad, StoreHealth};
use ringfence_observe::{Metrics, opentelemetry::KeyValue};

/// Whose instruments these are.
const SCOPE: &str = "ringfence-server";

/// A number of a place.
type Of = fn(&SharedLoad) -> u64;

fn slots(shared: &SharedLoad) -> u64 {
    shared.slots.into()
}

fn running(shared: &SharedLoad) -> u64 {
    shared.load.running.into()
}

fn waiting(shared: &SharedLoad) -> u64 {
    shared.load.waiting.into()
}

/// Registers them. Each is read when somebody asks for metrics.
pub(crate) fn add(metrics: &Metrics, runtime: &Runtime) {
    let meter = metrics.meter(SCOPE);
    let each = |runtime: &Runtime, tell: &dyn Fn(u64, &[KeyValue]), of: fn(PlaceLoad) -> u64| {
        for tenant in runtime.load().tenants {
            for (place, load) in tenant.places {
                let tenant = KeyValue::new("ringfence.tenant", tenant.tenant.to_string());
                tell(of(load), &[tenant, KeyValue::new("ringfence.place", place)]);
            }
        }
    };
    let asked = runtime.clone();
    meter
        .u64_observable_gauge("ringfence.work.running")
        .with_description("Work that has its turn, by tenant and place.")
        .with_callback(move |told| {
            each(&asked, &|n, of| told.observe(n, of), |load| load.running.into());
        })
        .build();
    let asked = runtime.clone();
    meter
        .u64_observable_gauge("ringfence.work.waiting")
        .with_description("Work that waits for its turn, by tenant and place.")
        .with_callback(move |told| {
            each(&asked, &|n, of| told.observe(n, of), |load| load.waiting.into());
        })
        .build();
    let asked = runtime.clone();
    meter
        .u64_observable_counter("ringfence.work.refused")
        .with_description("Work that was refused because too much waited, by tenant and place.")
        .with_callback(move |told| {
            each(&asked, &|n, of| told.observe(n, of), |load| load.refused);
        })
        .build();
    let asked = runtime.clone();
    meter
        .u64_observable_counter("ringfence.work.over-rate")
        .with_description("Work that was refused because its tenant began more than its rate.")
        .with_callback(move |told| {
            for tenant in asked.load().tenants {
                let of = KeyValue::new("ringfence.tenant", tenant.tenant.to_string());
                told.observe(tenant.over_rate, &[of]);
            }
        })
        .build();
    for (name, about, of) in [
        ("ringfence.place.slots", "How much of a kind has its turn at one time.", slots as Of),
        (
            "ringfence.place.running",
            "Work that has its turn, all tenants' together, by place.",
            running,
        ),
        (
            "ringfence.place.waiting",
            "Work that waits for its turn, all tenants' together.",
            waiting,
        ),
    ] {
        let asked = runtime.clone();
        let gauge = meter.u64_observable_gauge(name).with_description(about);
        gauge
            .with_callback(move |told| {
                for shared in asked.load().places {
                    let place = KeyValue::new("ringfence.place", shared.place.clone());
                    told.observe(of(&shared), &[place]);
                }
            })
            .build();
    }
    let asked = runtime.clone();
    meter
        .u64_observable_gauge("ringfence.store.failing")
        .with_description("1 while the store keeps nothing of what it is given.")
        .with_callback(move |told| {
            told.observe(u64::from(!matches!(asked.load().store, StoreHealth::Good)), &[]);
        })
        .build();
}
