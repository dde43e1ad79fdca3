//! Two thousand workloads: drawn in one pass; afterwards only changed elements are touched.

use serde_json::{Value, json};

use super::browser::Browser;
use super::log_in;
use super::world::{PageWorkload, PageWorld};

const MANY: usize = 2000;

/// Script that counts changes to the page: added and removed nodes, changed attributes and texts.
const COUNT: &str = "window.touched = 0; window.seen?.disconnect(); \
    window.seen = new MutationObserver((records) => { for (const one of records) window.touched += one.type === 'childList' ? one.addedNodes.length + one.removedNodes.length : 1; }); \
    window.seen.observe(document.querySelector('.overview'), {subtree: true, childList: true, attributes: true, characterData: true});";

#[tokio::test]
async fn thousands_of_workloads_are_drawn_once_and_only_what_changes_is_touched() {
    let (world, browser) = (PageWorld::of_workloads(MANY), Browser::start("many"));
    // How often the page changes on its way to the first picture is seen from its own beginning.
    let script = "window.passes = 0; addEventListener('DOMContentLoaded', () => new MutationObserver((records) => { \
        if (records.some((one) => one.target.classList?.contains('groups') || one.target.classList?.contains('tiles'))) window.passes += 1; })\
        .observe(document, {subtree: true, childList: true}));";
    browser.tools("Page.addScriptToEvaluateOnNewDocument", &json!({"source": script}));
    log_in(&browser, &world).await;
    browser.until_text(".count", "2000 workloads").await;
    browser.picture("tiles");
    assert_eq!(browser.value("document.querySelectorAll('.tile').length"), MANY);
    let nodes = browser.value("document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(nodes < 5 * MANY as u64 + 500, "{nodes} elements");
    // The first answer is drawn in one pass: tiles are made before they are put where they are seen.
    let passes = browser.value("window.passes").as_u64().unwrap();
    assert!(passes <= 1, "{passes} passes");
    // What is out of sight is not laid out.
    let skipped = "[...document.querySelectorAll('.tile')].filter((one) => !one.checkVisibility({contentVisibilityAuto: true})).length";
    assert!(browser.value(skipped).as_u64().unwrap() > MANY as u64 / 2, "{}", browser.value(skipped));

    browser.run(COUNT);
    let changed = PageWorkload {
        kind: "StatefulSet",
        name: "workload-0007",
        namespace: "team-0",
        annotations: json!({"outrigger.dev/inject": "false"}),
        pods: &[("2026-11-21T10:00:00Z", false)],
        ..PageWorkload::default()
    };
    let of_same_name: Vec<Value> = changed.objects();
    world.put("zz-changed.json", &of_same_name);
    let tile = "document.querySelector(\"a.tile[data-key='team-0/StatefulSet/workload-0007']\")";
    browser.until(&format!("{tile}.textContent.includes('out (intended)')")).await;
    let touched = browser.value("window.touched").as_u64().unwrap();
    assert!((1..40).contains(&touched), "{touched} nodes were touched for one workload");

    browser.write("#search", "workload-19");
    browser.until_text(".count", "100 of 2000 workloads").await;
    browser.picture("found");
    browser.run(
        "const search = document.querySelector('#search'); search.value = ''; search.dispatchEvent(new Event('input'))",
    );
    browser.until_text(".count", "2000 workloads").await;
    browser.follow("#/table");
    browser.until("document.querySelectorAll('table.workloads tbody tr').length === 2000").await;
    browser.picture("table");
    browser.run(COUNT);
    browser.click("th[data-by='name'] button").await;
    browser.until("document.querySelector('th[data-by=name]').ariaSort === 'ascending'").await;
    assert_eq!(browser.complaints(&[]), [""; 0]);
}
