//! What requests share: nothing across tenants, and no memory of what a server gave.

use ringfence_tests::{
    text,
    web::{self, Web, say},
};

use super::{get, open};

/// N15: a connection serves one tenant; another one's request to the same place makes its own.
#[tokio::test]
async fn n15_tenants_share_no_connection() {
    let web = web::serve();
    let url = format!("{}/hello", web.origin());
    let first = open(&web);
    let second = open(&web).tenant("other").with_host(first.host().clone());
    for (scene, connections) in [(&first, 1), (&first, 1), (&second, 2), (&first, 2), (&second, 2)]
    {
        assert_eq!(text(&get(scene, &url).await), "200 hello");
        assert_eq!(web.connections(), connections);
    }
    // A changed grant starts with none.
    let changed = open(&web).grants("limits.requests = 3").with_host(first.host().clone());
    assert_eq!(text(&get(&changed, &url).await), "200 hello");
    assert_eq!(web.connections(), 3);
    assert_eq!(web.take().len(), 6);
}

/// N15: what a server wants to be remembered is forgotten, within a tenant and across them.
#[tokio::test]
async fn n15_no_cookie_comes_back() {
    let web = Web::new(|_, stream| {
        let fields = "set-cookie: who=me; Path=/\r\nlocation: /next\r\n\
            www-authenticate: Basic realm=x\r\nalt-svc: h2=\":1\"\r\n";
        say(stream, "200 OK", fields, b"hello")
    });
    let first = open(&web);
    let second = open(&web).tenant("other").with_host(first.host().clone());
    for scene in [&first, &first, &second] {
        assert!(text(&get(scene, &web.origin()).await).ends_with("hello"));
    }
    let requests = web.take();
    assert_eq!(requests.len(), 3);
    for request in requests {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept-encoding", "host"]);
    }
}
