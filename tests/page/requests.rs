//! Requests of the page, with a server that is slow, refuses, or sends answers that cannot be shown.

use serde_json::{Value, json};

use super::browser::{Browser, ENTER};
use super::log_in;
use super::world::PageWorld;

/// Script that records requests, lets a test answer or delay them, and shortens timers.
const LISTENING: &str = r#"
    const [real, later] = [window.fetch, window.setTimeout];
    Object.assign(window, {
        asked: [],
        instead: () => undefined,
        answer: (status, body, headers = {}) =>
            new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } }),
        held: () => new Promise((go) => { window.release = go; }),
        setTimeout: (act, wait) => later(act, Math.min(wait, 100)),
        fetch: async (path, options) => {
            window.asked.push({ path, ...options });
            return (await window.instead(path, options)) ?? real(path, options);
        },
    });
"#;

const OVERVIEW: &str = "window.asked.filter((one) => one.path === '/api/v1/overview')";
const FAR: &str = "window.instead = (path) => { if (path.includes('/graph')) throw new TypeError('far away'); }";

async fn log_in_and_listen(browser: &Browser, world: &PageWorld) {
    log_in(browser, world).await;
    browser.run(LISTENING);
}

/// Waits for several requests of the overview, so that anything else that runs has sent its request as well.
async fn wait_a_while(browser: &Browser) {
    let before = browser.value(&format!("{OVERVIEW}.length")).as_u64().unwrap();
    browser.until(&format!("{OVERVIEW}.length > {}", before + 5)).await;
}

fn count_requests(browser: &Browser, part: &str) -> u64 {
    browser.value(&format!("window.asked.filter((one) => one.path.includes({})).length", json!(part))).as_u64().unwrap()
}

#[tokio::test]
async fn nothing_is_asked_for_any_more_by_whoever_has_left() {
    let (world, browser) = (PageWorld::small(), Browser::start("left"));
    log_in_and_listen(&browser, &world).await;
    browser.run(
        "window.instead = (path) => {
            if (!path.includes('/restarts')) return undefined;
            if (path.includes('dryRun')) return window.answer(200, { workloads: [{ kind: 'StatefulSet', name: 'cart' }], skipped: [], barePods: [], leftOut: [], refused: [] });
            return window.answer(200, { run: 'r1', state: 'Running', of: 1, over: 0, waiting: [], canResume: false });
        }",
    );
    browser.click("section[aria-labelledby='ns-shop'] .acts button:nth-of-type(3)").await;
    browser.until_shown("#whom").await;
    browser.click(".act button.main").await;
    browser.until_shown(".summary").await;
    browser.click(".act button.main").await;
    browser.until_shown("progress").await;
    browser.until("window.asked.filter((one) => one.path.endsWith('/restarts/r1')).length > 2").await;
    // The token is over, and somebody shows another one.
    browser.run("window.instead = () => window.answer(401, { detail: 'it is over' })");
    browser.until_shown("#token").await;
    browser.run("window.instead = () => undefined; window.asked = []");
    browser.write("#token", &world.token());
    browser.press(&[ENTER]);
    browser.until_shown("a.tile").await;
    wait_a_while(&browser).await;
    assert_eq!(count_requests(&browser, "/restarts/r1"), 0);
    let tokens = browser.value("[...new Set(window.asked.map((one) => one.headers.Authorization))]");
    assert_eq!(tokens, json!([format!("Bearer {}", world.token())]));

    // An answer that comes when somebody has left is shown to nobody.
    browser.click("section[aria-labelledby='ns-shop'] .acts button").await;
    browser.until_shown("#reason").await;
    browser.write("#reason", "loop");
    browser.press(&[ENTER]);
    browser.until_shown(".summary").await;
    browser.run("window.instead = (path) => (path.endsWith('/suspensions') ? window.held() : undefined)");
    browser.click(".act button.main").await;
    browser.until("window.release !== undefined").await;
    browser.run("document.querySelector('#leave').click()");
    browser.until_shown("#token").await;
    browser.run("window.asked = []; window.instead = () => undefined; window.release()");
    browser.write("#token", &world.token());
    browser.press(&[ENTER]);
    browser.until_shown("a.tile").await;
    wait_a_while(&browser).await;
    assert_eq!(browser.value("document.querySelectorAll('dialog, .problem').length"), 0);
    assert_eq!(browser.value("document.querySelector('#toast').textContent"), "");
    assert_eq!(browser.complaints(&[]), [""; 0]);
}

#[tokio::test]
async fn what_is_refused_is_not_asked_for_again_and_the_banner_goes_with_whoever_waited() {
    let (world, browser) = (PageWorld::small(), Browser::start("refused"));
    log_in_and_listen(&browser, &world).await;
    browser.follow("#/ns/shop/StatefulSet/cart");
    browser.until_shown("dialog .rules .Won").await;
    browser.run(
        "window.asked = []; window.instead = (path) =>
            (path.endsWith('/StatefulSet/cart') ? window.answer(404, { detail: 'there is no StatefulSet/cart' }) : undefined)",
    );
    browser.until_text("dialog .problem", "there is no StatefulSet/cart").await;
    assert_eq!(browser.value("document.querySelector('dialog .standing').innerText"), "", "nor does it stand anyhow");
    browser.run("window.instead = () => undefined");
    browser.until_shown("dialog .rules .Won").await;
    browser.run(
        "window.asked = []; window.instead = (path) =>
            (path.endsWith('/StatefulSet/cart') ? window.answer(403, { detail: 'you may not' }) : undefined)",
    );
    browser.until_text("dialog .problem", "you may not").await;
    wait_a_while(&browser).await;
    assert_eq!(count_requests(&browser, "/StatefulSet/cart"), 1);

    browser.follow("#/graph");
    browser.until_shown("a.node.Workload").await;
    browser.run(FAR);
    browser.until_text("#banner", "The server does not answer").await;
    browser.follow("#/");
    browser.until("document.querySelector('#banner').hidden").await;

    browser.run("window.instead = () => undefined");
    browser.follow("#/graph");
    browser.until_shown("a.node.Workload").await;
    browser.run(FAR);
    browser.until_text("#banner", "The server does not answer").await;
    browser.run("window.instead = (path) => (path.includes('/graph') ? window.answer(403, { detail: 'you may not' }) : undefined)");
    browser.until_text("main .problem", "you may not").await;
    browser.until("document.querySelector('#banner').hidden").await;
    assert_eq!(browser.value("document.querySelectorAll('main table').length"), 0, "the list is not of before");
    assert_eq!(browser.complaints(&[]), [""; 0]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_shown_is_asked_for_again() {
    let (world, browser) = (PageWorld::small(), Browser::start("odd"));
    log_in_and_listen(&browser, &world).await;
    let graph = |edges: Value| {
        json!({
            "nodes": [
                {"id": "a", "is": "Service", "kind": "Service", "namespace": "shop", "name": "cart"},
                {"id": "b", "is": "Elsewhere", "kind": "Namespace", "name": "elsewhere"},
            ],
            "edges": edges, "partial": false, "unread": [],
        })
    };
    let told = graph(json!([
        {"from": "a", "to": "b", "does": "Routes"}, {"from": "a", "to": "made just now", "does": "Selects"},
    ]));
    let answered = format!("(path.includes('/graph') ? window.answer(200, {told}) : undefined)");
    browser.run(&format!("window.instead = (path) => {answered}"));
    browser.follow("#/graph");
    browser.until_shown("g.node.Service").await;
    browser.picture("graph");
    assert_eq!(browser.value("document.querySelectorAll('main .node').length"), 2);
    assert_eq!(browser.value("document.querySelectorAll('main .edges path').length"), 1);
    assert_eq!(browser.value("document.querySelectorAll('main table tbody tr').length"), 1);
    assert_eq!(browser.complaints(&[]), [""; 0]);

    browser.follow("#/");
    browser.run(
        "window.instead = (path) => {
            if (path !== '/api/v1/overview') return undefined;
            window.instead = () => undefined;
            return window.answer(200, {}, { etag: '\"odd\"' });
        }",
    );
    wait_a_while(&browser).await;
    let tags = browser.value(&format!("{OVERVIEW}.map((one) => one.headers['If-None-Match'] ?? '')"));
    assert!(!tags.as_array().unwrap().contains(&json!("\"odd\"")), "what was not shown is not taken for known: {tags}");
    let complaints = browser.complaints(&[]);
    assert!(complaints.len() == 1 && complaints[0].contains("TypeError"), "{complaints:?}");
}

#[tokio::test]
async fn what_is_done_is_what_the_summary_was_about() {
    let (world, browser) = (PageWorld::small(), Browser::start("done"));
    log_in_and_listen(&browser, &world).await;
    browser.click("section[aria-labelledby='ns-shop'] .acts button").await;
    browser.until_shown("#lasts").await;
    browser.write("#reason", "loop");
    browser.run("window.instead = (path) => (path.includes('dryRun') ? window.held() : undefined)");
    browser.press(&[ENTER]);
    browser.until("window.release !== undefined").await;
    browser.picture("asking");
    let is_off = "[...document.querySelectorAll('#lasts, #reason, #ticket')].every((one) => one.matches(':disabled'))";
    assert_eq!(browser.value(is_off), true);
    // Whatever changes a field nevertheless.
    browser.run("document.querySelector('#lasts').value = '168h'; window.release()");
    browser.until_shown(".summary").await;
    assert_eq!(browser.value("document.activeElement.classList.contains('summary')"), true);
    browser.run("window.instead = (path) => (path.endsWith('/suspensions') ? window.answer(409, { detail: 'not now' }) : undefined)");
    browser.click(".act button.main").await;
    browser.until_text(".act .problem", "not now").await;
    browser.click(".act footer button:nth-of-type(2)").await;
    assert_eq!(
        browser.value("document.activeElement.closest('fieldset') !== null"),
        true,
        "the focus is in the fields"
    );
    browser.run("window.instead = () => undefined; document.querySelector('#lasts').value = '24h'");
    browser.click(".act button.main").await;
    browser.until_shown(".summary").await;
    browser.click(".act button.main").await;
    browser.until_text("#toast", "Suspended until").await;
    let bodies = browser.value(
        "window.asked.filter((one) => one.path.includes('/suspensions') && one.method === 'POST').map((one) => JSON.parse(one.body).for)",
    );
    assert_eq!(bodies, json!(["1h", "1h", "24h", "24h"]));
    assert_eq!(browser.complaints(&[]), [""; 0]);
}

#[tokio::test]
async fn whoever_writes_a_proposal_can_go_on_while_another_is_previewed() {
    let (world, browser) = (PageWorld::small(), Browser::start("writing"));
    log_in_and_listen(&browser, &world).await;
    browser.follow("#/preview");
    browser.until_shown("#proposal").await;
    let out = "{apiVersion: outrigger.dev/v1alpha1, kind: ClusterInjectionPolicy, metadata: {name: out}, spec: {action: Disable, priority: 99}}";
    browser.write("#proposal", out);
    browser.run("window.instead = (path) => (path.includes('/preview') ? window.held() : undefined)");
    let submit = "document.querySelector('#proposal').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', ctrlKey: true }))";
    browser.run(&format!("{submit}; {submit}"));
    browser.until("window.release !== undefined").await;
    browser.write("#proposal", "\n# and");
    browser.run("window.instead = () => undefined; window.release()");
    browser.until_text("#preview-result", "would no longer get a sidecar").await;
    browser.until_text("form.preview + .warning", "what stood there before").await;
    assert_eq!(browser.value("document.activeElement.id"), "proposal", "the focus is left where somebody writes");
    browser.picture("older");
    assert_eq!(count_requests(&browser, "/preview?"), 1);
    browser.click("form.preview button.main").await;
    browser.until("document.querySelector('form.preview + .warning').hidden").await;
    assert_eq!(
        browser.value("document.activeElement.id"),
        "preview-result",
        "whoever stands on the button is taken along"
    );

    // The token is over in the middle of a sentence.
    browser.write("#proposal", " more");
    browser.run("window.instead = () => window.answer(401, { detail: 'it is over' })");
    browser.until_shown("#token").await;
    browser.run("window.instead = () => undefined");
    browser.write("#token", &world.token());
    browser.press(&[ENTER]);
    browser.until_shown("#proposal").await;
    assert_eq!(browser.value("document.querySelector('#proposal').value"), format!("{out}\n# and more"));
    assert_eq!(browser.complaints(&[]), [""; 0]);
}
