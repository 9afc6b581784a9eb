//! The program's way to the network: what its environment and its home say of it is nothing.

use ringfence_tests::web;
use serde_json::json;

use crate::support::Scene;

/// N12: proxies and credentials of whoever starts the program are not those of a tool.
#[test]
fn n12_no_proxy_and_no_netrc_of_the_host_is_used() {
    let (web, proxy) = (web::serve(), web::serve());
    let scene = Scene::new();
    scene.component("fetch.wasm", "fetch");
    scene.file("../home/.netrc", "machine 127.0.0.1\nlogin me\npassword of-the-host\ndefault login me password of-the-host\n");
    scene.file("../home/.curlrc", &format!("proxy = {}\n", proxy.origin()));
    let url = json!({ "url": format!("{}/hello", web.origin()) }).to_string();
    let mut command = scene.command(&["call", "fetch.wasm", "get", &url, "--http", &web.origin()]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "CGI_HTTP_PROXY"] {
        command.env(name, proxy.origin()).env(name.to_ascii_lowercase(), proxy.origin());
    }
    command
        .env("NO_PROXY", "")
        .env("no_proxy", "")
        .env("NETRC", scene.path("../home/.netrc"))
        .env("RES_OPTIONS", "ndots:15")
        .env("LOCALDOMAIN", "evil.example")
        .env("SSL_CERT_FILE", "/nowhere")
        .env("SSL_CERT_DIR", "/nowhere");
    let ran = scene.ended(command.spawn().unwrap()).expect(0);
    assert!(ran.out.contains("hello"), "{}", ran.out);
    assert_eq!(proxy.connections(), 0);
    let [request] = &web.take()[..] else { panic!("one request") };
    // A proxy would be asked for the whole URL.
    assert_eq!(request.path(), "/hello");
    for (name, value) in &request.headers {
        assert!(!name.contains("proxy") && !value.contains("of-the-host"), "{name}: {value}");
        assert_ne!(name, "authorization");
    }
    // The proxy would have been there for whoever asked.
    std::net::TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    while proxy.connections() == 0 {
        std::thread::yield_now();
    }
}
