//! Page in a real browser: clicks through each action, and saves screenshots in `target/page/`.

pub(crate) mod browser;
mod many;
mod requests;
mod world;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::api::send_json;
use crate::control_plane::await_condition;
use crate::serve::EmbeddedServer;
use browser::{Browser, DOWN, ENTER, ESCAPE, RIGHT, TAB, UP};
use world::{HOSTILE, PageWorld};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// Logs in, and waits for the overview.
async fn log_in(browser: &Browser, world: &PageWorld) {
    browser.go(&world.url());
    browser.until_shown("#token").await;
    browser.write("#token", &world.token());
    browser.click("button.main").await;
    browser.until_shown("a.tile").await;
}

fn tile(name: &str) -> String {
    format!("a.tile[data-key$='/{name}']")
}

#[tokio::test]
async fn a_token_lets_in_until_it_is_taken_back_and_a_wrong_one_is_told_of() {
    let (world, browser) = (PageWorld::small(), Browser::start("login"));
    browser.go(&world.url());
    browser.until_shown("#token").await;
    browser.picture("empty");
    assert_eq!(browser.value("document.activeElement.id"), "token");
    browser.write("#token", "wrong");
    browser.click("button.main").await;
    browser.until_text(".problem", "The token is not taken").await;
    browser.picture("wrong");
    assert_eq!(browser.value("sessionStorage.length"), 0);
    browser.write("#token", &world.token());
    browser.press(&[ENTER]);
    browser.until_shown("a.tile").await;
    assert_eq!(browser.value("document.querySelector('#user').innerText"), "admin");

    browser.run("location.reload()");
    browser.until_shown("a.tile").await;
    browser.click("#leave").await;
    browser.until_text(".problem", "You are logged out").await;
    assert_eq!(browser.value("[sessionStorage.length, localStorage.length, document.cookie]"), json!([0, 0, ""]));
    browser.run("location.reload()");
    browser.until_shown("#token").await;

    log_in(&browser, &world).await;
    // From here on the server hears another token, as when the one that was shown is over.
    browser.tools("Network.enable", &json!({}));
    let other = json!({"headers": {"Authorization": "Bearer another"}});
    browser.tools("Network.setExtraHTTPHeaders", &other);
    browser.until_text(".problem", "The token is not taken, or not any more").await;
    browser.picture("over");
    assert_eq!(browser.value("document.querySelectorAll('.tile, dialog').length"), 0);
    assert_eq!(browser.complaints(&["401 (Unauthorized)"]), [""; 0]);
}

#[tokio::test]
async fn the_overview_shows_who_is_in_the_mesh_as_tiles_and_as_a_table() {
    let (world, browser) = (PageWorld::small(), Browser::start("overview"));
    log_in(&browser, &world).await;
    browser.picture("tiles");
    for (name, told) in [
        ("checkout", "checkout\nout (unexpected) · StatefulSet\n1/2"),
        ("vault", "vault\nunreachable · StatefulSet\n0/1"),
        ("recommendations", "recommendations\nmixed · StatefulSet\n1/2"),
        ("gateway", "gateway\npending restart · StatefulSet\n0/2"),
        ("fraud", "fraud\nsuspended · StatefulSet\n1/1"),
        ("cart", "cart\nin mesh · StatefulSet\n2/2"),
        ("node-agent", "node-agent\nout (intended) · DaemonSet\n0/1"),
        ("nightly-report", "nightly-report\nno pods · CronJob"),
    ] {
        let text = browser.value(&format!("document.querySelector({}).innerText", json!(tile(name))));
        assert_eq!(text.as_str().unwrap().trim(), told);
    }
    // The shape that goes with the colour is loaded, and another one for each state.
    let shapes = "new Set([...document.querySelectorAll('.tile')].map((one) => getComputedStyle(one, '::before').maskImage)).size";
    assert_eq!(browser.value(shapes), 8);
    assert_eq!(
        browser.value("[...document.querySelectorAll('.group h2')].map((one) => one.innerText)"),
        json!(["closed", "kube-system", "legacy-billing", "payments", "shop"])
    );
    assert!(
        browser
            .value("document.querySelector('.group').innerText")
            .as_str()
            .unwrap()
            .contains("istio-injection=disabled")
    );

    browser.write("#search", "paym");
    browser.until_text(".count", "3 of 15 workloads").await;
    assert_eq!(
        browser.value("[...document.querySelectorAll('.group')].filter((one) => one.checkVisibility()).length"),
        1
    );
    browser.click(".chip[data-state='Suspended']").await;
    browser.until_text(".count", "1 of 15 workloads").await;
    browser.click(".chip[data-state='Suspended']").await;
    browser.run(
        "const search = document.querySelector('#search'); search.value = ''; search.dispatchEvent(new Event('input'))",
    );
    browser.until_text(".count", "15 workloads").await;

    browser.click(".legend summary").await;
    browser.picture("legend");
    browser.click(".legend summary").await;
    browser.click("a[href='#/table']").await;
    browser.until_shown("table.workloads").await;
    browser.picture("table");
    let first = "document.querySelector('table.workloads tbody th').innerText";
    assert_eq!(browser.value(first), "checkout StatefulSet", "the most worrying first");
    browser.click("th[data-by='name'] button").await;
    browser.until(&format!("{first}.startsWith('a-workload-whose-name')")).await;
    browser.click("th[data-by='name'] button").await;
    browser.until(&format!("{first}.startsWith('vault')")).await;
    assert_eq!(browser.value("document.querySelector('th[data-by=name]').ariaSort"), "descending");

    browser.follow("#/ns/payments");
    browser.until_text(".one", "Only namespace payments").await;
    browser.picture("namespace");
    browser.follow("#/");
    browser.prefer("dark");
    browser.picture("dark");
    browser.resize(400, 800);
    browser.picture("narrow");
    let overflow = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.value(overflow), true, "nothing is wider than the window");
    assert_eq!(browser.complaints(&[]), [""; 0]);
}

#[tokio::test]
async fn a_workload_is_found_and_explained_by_keyboard_alone_and_its_texts_are_no_markup() {
    let (world, browser) = (PageWorld::small(), Browser::start("explanation"));
    log_in(&browser, &world).await;
    let focused = "document.activeElement.dataset.key ?? document.activeElement.id";
    for _ in 0..40 {
        browser.press(&[TAB]);
        if browser.value("document.activeElement.classList.contains('tile')") == true {
            break;
        }
    }
    assert_eq!(browser.value(focused), "closed/StatefulSet/vault", "Tab comes to the first tile");
    browser.press(&[RIGHT]);
    assert_eq!(browser.value(focused), "legacy-billing/StatefulSet/invoices");
    browser.press(&[DOWN]);
    assert_eq!(browser.value(focused), "payments/StatefulSet/gateway");
    browser.press(&[UP, DOWN, RIGHT]);
    assert_eq!(browser.value(focused), "payments/StatefulSet/fraud");
    browser.press(&[ENTER]);
    browser.until_shown(".rules .Won").await;
    browser.picture("suspended");
    assert_eq!(browser.value("location.hash"), "#/ns/payments/StatefulSet/fraud");
    assert_eq!(browser.value("document.activeElement.id"), "explained");
    browser.press(&[ESCAPE]);
    browser.until("document.querySelector('dialog') === null").await;
    assert_eq!(browser.value(focused), "payments/StatefulSet/fraud", "the focus is where it was");
    assert_eq!(browser.value("location.hash"), "#/");

    browser.go(&format!("{}#/ns/shop/DaemonSet/node-agent", world.url()));
    browser.until_shown(".rules .Won").await;
    browser.picture("override");
    let text = browser.value("document.querySelector('dialog').innerText");
    let text = text.as_str().unwrap();
    for part in [
        "out (intended): 0 of 1 pods have a sidecar",
        HOSTILE,
        "label sidecar.istio.io/inject=false",
        "Override DaemonSet/node-agent",
        "Policy mesh-by-default",
        "EVERY RULE CONSIDERED (15)",
        "13 that do not match",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(browser.value("document.querySelectorAll('dialog img, script:not([src])').length"), 0);
    browser.click("dialog details summary").await;
    browser.until_text("dialog details", "Policy team-11").await;
    browser.click("dialog .close").await;
    browser.until("document.querySelector('dialog') === null").await;
    browser.follow("#/ns/shop/Deployment/nothing");
    browser.until_text("dialog .problem", "there is no Deployment/nothing in namespace shop").await;
    assert_eq!(browser.complaints(&["404 (Not Found)"]), [""; 0]);
}

#[tokio::test]
async fn somebody_suspends_extends_and_ends_and_sees_before_what_follows() {
    let (world, browser) = (PageWorld::small(), Browser::start("suspension"));
    log_in(&browser, &world).await;
    let listed =
        || send_json(&world.served, "GET", "/api/v1/namespaces/shop/suspensions?state=InForce", None, &[]).json();
    browser.follow("#/ns/shop/StatefulSet/cart");
    browser.click("dialog .acts button").await;
    browser.until_shown("#reason").await;
    browser.picture("asked");
    browser.write("#reason", "loop <b>again</b>");
    browser.write("#ticket", "INC-7");
    browser.run("document.querySelector('#lasts').value = '2h'");
    browser.press(&[ENTER]);
    browser.until_text(".summary", "1 workload").await;
    browser.until_text(".summary", "StatefulSet cart in shop").await;
    browser.picture("summary");
    assert_eq!(listed()["items"], json!([]), "nothing is stored before it is said twice");
    browser.click(".act footer button:nth-of-type(2)").await;
    browser.until_shown("#reason").await;
    assert_eq!(
        browser.value("document.querySelector('#reason').value"),
        "loop <b>again</b>",
        "nothing is lost by going back"
    );
    browser.click(".act button.main").await;
    browser.until_text(".act button.main", "Suspend").await;
    browser.until_shown(".summary").await;
    browser.click(".act button.main").await;
    browser.until_text("#toast", "Suspended until").await;
    let made = listed()["items"][0].clone();
    assert_eq!((&made["reason"], &made["ticket"]), (&json!("loop <b>again</b>"), &json!("INC-7")));
    browser.until_text("dialog.drawer .standing", "suspended").await;
    browser.press(&[ESCAPE]);
    browser.until(&format!("document.querySelector({}).textContent.includes('suspended')", json!(tile("cart")))).await;
    browser.until_text("#badge", "2").await;
    browser.picture("tile");

    browser.click("a[data-view='suspensions']").await;
    let row = format!("tr[data-key='shop/{}']", made["name"].as_str().unwrap());
    browser.until_shown(&row).await;
    browser.picture("list");
    browser.until_text(&format!("{row} .left"), "1 h 59 min").await;
    browser.click(&format!("{row} .acts button:nth-of-type(1)")).await;
    browser.until_shown("#by").await;
    browser.click(".act button.main").await;
    browser.until_text(".summary", "Its new end").await;
    browser.click(".act button.main").await;
    browser.until_text(&format!("{row} .left"), "2 h 59 min").await;
    assert_ne!(listed()["items"][0]["endsAt"], made["endsAt"]);

    browser.click(&format!("{row} .acts button:nth-of-type(2)")).await;
    browser.until_shown("#reason").await;
    browser.write("#reason", "fixed");
    browser.click(".act button.main").await;
    browser.until_text(".summary", "It ends now").await;
    browser.picture("end");
    assert_eq!(listed()["items"].as_array().unwrap().len(), 1, "not yet");
    browser.click(".act button.main").await;
    browser.until(&format!("document.querySelector({})?.closest('details') !== null", json!(row))).await;
    assert_eq!(listed()["items"], json!([]));
    let acts = await_condition("the record", TIMEOUT, async || {
        let acts =
            world.served.audit_entries(|entry| entry["object"]["name"] == made["name"] && entry["actor"].is_object());
        ensure!(acts.iter().any(|act| act["act"] == "End" && act["dryRun"].is_null()), "{acts:?}");
        Ok(acts)
    })
    .await;
    let end = acts.iter().find(|act| act["act"] == "End" && act["dryRun"].is_null()).unwrap();
    assert_eq!(end["reason"], "fixed");
    assert_eq!(browser.complaints(&[]), [""; 0]);
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_words_and_changes_nothing() {
    let (world, browser) = (PageWorld::small(), Browser::start("refusal"));
    log_in(&browser, &world).await;
    browser.click("section[aria-labelledby='ns-shop'] .acts button").await;
    browser.until_shown("#what").await;
    browser.run(
        "const what = document.querySelector('#what'); what.value = 'Traffic'; what.dispatchEvent(new Event('change'))",
    );
    browser.until_shown("#service").await;
    browser.write("#service", "checkout");
    browser.write("#reason", "bad release");
    browser.click(".act button.main").await;
    browser.until_text(".act .problem", "VirtualService shop/checkout routes it already").await;
    browser.picture("obstacle");
    browser.run("document.querySelector('#service').value = ''");
    browser.write("#service", "reviews");
    browser.click(".act button.main").await;
    browser.until_text(".summary", "Callers of reviews in shop").await;
    browser.picture("traffic");
    browser.press(&[ESCAPE]);
    browser.until("document.querySelector('dialog') === null").await;
    let all = send_json(&world.served, "GET", "/api/v1/suspensions?allNamespaces=true&state=InForce", None, &[]).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(browser.complaints(&["409 (Conflict)"]), [""; 0]);
}

#[tokio::test]
async fn an_override_is_told_before_it_is_written_and_a_directory_says_what_to_write_by_hand() {
    let (world, browser) = (PageWorld::small(), Browser::start("override"));
    log_in(&browser, &world).await;
    browser.follow("#/ns/shop/StatefulSet/cart");
    browser.click("dialog .acts button:nth-of-type(2)").await;
    browser.until_shown("#action").await;
    browser.write("#reason", "loop");
    browser.picture("asked");
    browser.click(".act button.main").await;
    browser.until_text(".summary", "New pods get no sidecar").await;
    browser.until_text(".summary", "2 running pods would then differ").await;
    browser.picture("summary");
    let found = browser.barriers();
    assert!(found.is_empty(), "{found:?}");
    browser.click(".act button.main").await;
    browser.until_text(".act .problem", "outrigger.dev/inject").await;
    browser.press(&[ESCAPE]);
    browser.until("document.querySelector('dialog.act') === null").await;
    browser.press(&[ESCAPE]);
    browser.until("document.querySelector('dialog') === null").await;
    browser.click("section[aria-labelledby='ns-shop'] .acts button:nth-of-type(2)").await;
    browser.until_shown("#action").await;
    browser.run("const action = document.querySelector('#action'); action.value = 'Remove'; action.dispatchEvent(new Event('change'))");
    assert_eq!(browser.value("document.querySelector('#reason').closest('p').hidden"), true);
    browser.click(".act button.main").await;
    browser.until_text(".summary", "New pods of 0 of").await;
    assert_eq!(browser.complaints(&["409 (Conflict)"]), [""; 0]);
}

#[tokio::test]
async fn a_proposal_is_previewed_and_what_is_none_is_refused_without_losing_a_word() {
    let (world, browser) = (PageWorld::small(), Browser::start("preview"));
    log_in(&browser, &world).await;
    browser.click("a[data-view='preview']").await;
    browser.until_shown("#proposal").await;
    browser.click("form.preview button.main").await;
    browser.until_text("#preview-result .problem", "nothing is proposed").await;
    let out = "{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: out}, spec: {action: Disable, priority: 99, mode: Audit}}";
    browser.write("#proposal", &out.replace("action", "acton"));
    browser.click("form.preview button.main").await;
    browser.until_text("#preview-result .problem", "spec.acton: unknown field; did you mean action?").await;
    browser.picture("refused");
    browser.run("document.querySelector('#proposal').value = ''");
    browser.write("#proposal", out);
    browser.click("form.preview button.main").await;
    browser.until_text("#preview-result", "Nothing would change for 15 workloads").await;
    browser.until_text("#preview-result .warning", "in mode Audit, and changes nothing").await;
    browser.click("#enforced").await;
    browser.click("form.preview button.main").await;
    browser.until_text("#preview-result", "would no longer get a sidecar").await;
    browser.picture("changes");
    let found = browser.barriers();
    assert!(found.is_empty(), "{found:?}");
    let row = browser.value("[...document.querySelectorAll('table.preview tbody tr')].find((row) => row.innerText.startsWith('cart')).innerText");
    assert!(row.as_str().unwrap().contains("Disable"), "{row}");
    browser.follow("#/overrides");
    browser.until_shown("table.overrides").await;
    browser.follow("#/preview");
    assert_eq!(browser.value("document.querySelector('#proposal').value"), out, "it is still there");
    browser.run("document.querySelector('#proposal').value = ''");
    browser.write("#without", "cinj/mesh-by-default");
    browser.click("form.preview button.main").await;
    browser.until_text("#preview-result", "deleted ClusterInjectionPolicy mesh-by-default").await;
    let standing =
        send_json(&world.served, "GET", "/api/v1/namespaces/shop/workloads/StatefulSet/cart", None, &[]).json();
    assert_eq!(standing["state"], "InMesh", "nothing of it is applied");
    assert_eq!(browser.complaints(&["422 (Unprocessable"]), [""; 0]);
}

#[tokio::test]
async fn overrides_the_graph_and_what_is_decided_live_are_shown() {
    let (world, browser) = (PageWorld::small(), Browser::start("views"));
    log_in(&browser, &world).await;
    browser.click("a[data-view='overrides']").await;
    browser.until_text("table.overrides", HOSTILE).await;
    browser.picture("overrides");
    assert_eq!(browser.value("document.querySelectorAll('table.overrides tbody tr').length"), 2);
    browser.click("table.overrides .acts button").await;
    browser.until_shown("#action").await;
    assert_eq!(browser.value("document.querySelector('#action').value"), "Remove");
    browser.click(".act button.main").await;
    browser.until_text(".summary", "New pods get").await;
    browser.press(&[ESCAPE]);
    browser.until("document.querySelector('dialog') === null").await;

    browser.click("a[data-view='graph']").await;
    browser.until_shown("a.node.Workload").await;
    browser.picture("graph");
    browser.until("document.querySelector('#graph-namespace option[value=shop]') !== null").await;
    browser.run("const select = document.querySelector('#graph-namespace'); select.value = 'shop'; select.dispatchEvent(new Event('change'))");
    browser
        .until("location.hash === '#/graph/shop' && document.querySelectorAll('a.node.Workload').length === 10")
        .await;
    browser.picture("graph-namespace");
    browser.click(".more summary").await;
    browser.until_text(".more table", "Service reviews in shop").await;
    let list = browser.value("document.querySelector('.more table').innerText");
    assert!(
        list.as_str().unwrap().contains("VirtualService checkout in shop\troutes to\tService ledger in payments"),
        "{list}"
    );

    browser.click("a[data-view='live']").await;
    browser.until_text("main .count", "Connected").await;
    // Drift may have been found meanwhile, which is told there, too.
    browser.until_shown(".feed li").await;
    assert_eq!(browser.value("document.querySelectorAll('.feed li.decision').length"), 0);
    world.served.review_sample().unwrap();
    browser.until_text(".feed li.decision", "Enable").await;
    browser.picture("live");
    browser.click("main .tools button").await;
    world.served.review_sample().unwrap();
    browser.until_text("main .tools button", "Go on (").await;
    assert_eq!(browser.value("document.querySelectorAll('.feed li.decision').length"), 1);
    browser.click("main .tools button").await;
    browser.until("document.querySelectorAll('.feed li.decision').length === 2").await;
    assert_eq!(browser.complaints(&[]), [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_of_and_nothing_is_lost() {
    let (world, browser) = (PageWorld::small(), Browser::start("away"));
    log_in(&browser, &world).await;
    browser.tools("Network.enable", &json!({}));
    let network =
        |offline: bool| json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    browser.tools("Network.emulateNetworkConditions", &network(true));
    browser.until_text("#banner", "The server does not answer; what you see is from before").await;
    browser.picture("banner");
    assert_eq!(browser.value("document.querySelectorAll('.tile').length"), 15, "what was known is still there");
    browser.tools("Network.emulateNetworkConditions", &network(false));
    browser.click("#banner button").await;
    browser.until("document.querySelector('#banner').hidden").await;
    assert_eq!(browser.complaints(&["ERR_INTERNET_DISCONNECTED"]), [""; 0]);
}

#[tokio::test]
async fn nothing_stands_seriously_in_the_way_of_whoever_cannot_see() {
    let (world, browser) = (PageWorld::small(), Browser::start("access"));
    browser.go(&world.url());
    browser.until_shown("#token").await;
    let mut found: Vec<String> = Vec::new();
    let mut look = |what: &str| {
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            found.extend(browser.barriers().into_iter().map(|barrier| format!("{what}, {scheme}: {barrier}")));
        }
    };
    look("login");
    log_in(&browser, &world).await;
    browser.click(".legend summary").await;
    look("tiles");
    for (hash, shown) in [
        ("#/table", "table.workloads"),
        ("#/suspensions", "table.suspensions"),
        ("#/overrides", "table.overrides"),
        ("#/preview", "#proposal"),
        ("#/graph/shop", "a.node.Workload"),
        ("#/live", ".feed li"),
        ("#/ns/shop/DaemonSet/node-agent", ".rules .Won"),
    ] {
        browser.follow(hash);
        browser.until_shown(shown).await;
        look(hash);
    }
    browser.click("dialog .acts button").await;
    browser.until_shown("#reason").await;
    look("the dialog of an act");
    browser.write("#reason", "x");
    browser.click(".act button.main").await;
    browser.until_shown(".summary").await;
    look("its summary");
    assert_eq!(found, [""; 0], "{}", found.join("\n"));
    let named: Value = browser.value("[document.documentElement.lang, document.title !== '']");
    assert_eq!(named, json!(["en", true]));
}

#[tokio::test]
async fn the_built_in_sample_shows_what_there_is_to_see() {
    let (served, browser) = (EmbeddedServer::start(None, 1), Browser::start("sample"));
    let token = std::fs::read_to_string(served.file("token")).unwrap();
    browser.go(&format!("https://{}/", served.api));
    browser.until_shown("#token").await;
    browser.write("#token", token.trim());
    browser.click("button.main").await;
    browser.until_text(".count", "8 workloads").await;
    browser.picture("tiles");
    let states = "[...document.querySelectorAll('.chip')].map((one) => one.dataset.state).join(' ')";
    assert_eq!(browser.value(states), "OutUnexpected Unreachable PendingRestart Suspended InMesh OutIntended");
    browser.until_text("#badge", "1").await;
    browser.follow("#/suspensions");
    browser.until_text("td .left", "until it is ended").await;
    browser.follow("#/graph");
    browser.until_shown("a.node.Workload").await;
    browser.picture("graph");
    assert_eq!(browser.complaints(&[]), [""; 0]);
}
