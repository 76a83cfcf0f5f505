//! `http`: looking at a web service, in both worlds alike.

use groundcrew::{Covers, Mode, Request, Unsaid, Url, arguments};
use serde_json::{Value, json};

use crate::support::{self, WORLDS, Web, World, answer, failed, row};

/// A look at a URL.
pub(crate) fn check(name: &str, url: &str) -> Request {
    with(name, url, "get", 30_000)
}

fn with(name: &str, url: &str, method: &str, timeout_ms: u64) -> Request {
    let asked =
        json!({ "url": url, "method": method, "timeout_ms": timeout_ms, "max_bytes": 1000 });
    let origin = Url::parse(url).map(|url| url.origin().ascii_serialization());
    let request = Request::new(row(name)).with(arguments(&asked));
    request.at_origin(origin.unwrap_or_default())
}

fn private(url: &str) -> Request {
    check("http.check-private", url)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_answers_is_an_answer_whatever_its_status() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let web = Web::serve(|request, _| {
            let status = match request.starts_with("HEAD /up ") {
                true => "204 No Content",
                false => "503 Service Unavailable",
            };
            support::http(status, "content-type: text/plain\r\n", "")
        })
        .await;
        let run = world.run("run");
        let url = format!("{}/up", web.url);
        let got: Value = run.ask(private(&url)).await.unwrap();
        assert_eq!(
            (&got["status"], &got["content_type"]),
            (&json!(503), &json!("text/plain"))
        );
        let head = with("http.check-private", &url, "head", 5000);
        assert_eq!(run.ask::<Value>(head).await.unwrap()["status"], 204);
        // Nothing of the run's goes along, its token least of all.
        for seen in web.seen() {
            let seen = seen.to_ascii_lowercase();
            for header in ["authorization", "groundcrew-effect", "cookie"] {
                assert!(!seen.contains(header), "{seen}");
            }
        }
        assert_eq!(world.requests(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_redirected_within_its_origin_only() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let elsewhere = Web::serve(|_, _| support::http("200 OK", "", "inside")).await;
        let to = elsewhere.url.clone();
        let web = Web::serve(move |request, _| {
            let to = match request.split(' ').nth(1) {
                Some("/here") => "/up".to_owned(),
                Some("/there") => format!("{to}/up"),
                Some("/nowhere") => "http://[".to_owned(),
                Some(_) | None => return support::http("200 OK", "", "fine"),
            };
            support::http("302 Found", &format!("location: {to}\r\n"), "")
        })
        .await;
        let run = world.run("run");
        let ask = |path: &str| run.ask::<Value>(private(&format!("{}/{path}", web.url)));
        assert_eq!(ask("here").await.unwrap()["body"], "fine");
        let said = failed("denied", ask("there").await);
        assert!(said.contains(&elsewhere.url), "{said}");
        assert_eq!(elsewhere.seen(), Vec::<String>::new());
        failed("application", ask("nowhere").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_asked_with_the_verb_for_them_only() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let web = Web::serve(|_, _| support::http("200 OK", "", "fine")).await;
        let run = world.run("run");
        let port = Url::parse(&web.url).unwrap().port().unwrap();
        for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
            let url = format!("http://{host}:{port}/");
            let said = failed::<Value>("denied", run.ask(check("http.check", &url)).await);
            assert!(said.contains("not public"), "{said}");
        }
        assert_eq!(web.seen(), Vec::<String>::new());
        run.done(private(&format!("http://localhost:{port}/")))
            .await;
        assert_eq!(web.seen().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_of_a_web_service_is_invalid() {
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    for url in ["", "web", "ftp://a/", "http://user:pw@127.0.0.1/"] {
        failed::<Value>("invalid", run.ask(private(url)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_ends_in_its_time_and_when_it_is_ended() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        // Takes connections and answers nobody.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let run = world.run("run");
        let short = with("http.check-private", &url, "get", 50);
        failed::<Value>("timeout", run.ask(short).await);
        let effect = run.effect(private(&url));
        effect.cancel.cancel();
        failed::<Value>("cancelled", answer(&run.perform(&effect).await));
        drop(silent);
        failed::<Value>("unavailable", run.ask(private(&url)).await);
    }
}

#[test]
fn a_grant_names_origins_however_they_are_spelt_and_without_them_allows_none() {
    let all = groundcrew_capabilities::all();
    let http = all.iter().find(|each| each.name() == "http").unwrap();
    let [origins] = http.scopes() else {
        panic!("one scope: {:?}", http.scopes());
    };
    assert_eq!((origins.key, origins.one), ("origins", "origin"));
    assert_eq!(origins.unsaid, Unsaid::Nothing);
    let Covers::Same(covers) = origins.covers else {
        panic!("{:?}", origins.covers);
    };
    let named = check("http.check", "https://Example.com:443/up?x=1");
    let named = named.origin.unwrap();
    assert!(covers("https://example.com/", &named));
    assert!(!covers("http://example.com", &named) && !covers("https://example.com:8443", &named));
}
