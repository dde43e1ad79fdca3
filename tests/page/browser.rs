//! Headless Chromium, driven over the WebDriver protocol by Debian's chromedriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::await_condition;

/// Time limit for the page to show something.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Keys, by the names of the protocol.
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const RIGHT: &str = "\u{e014}";
pub(crate) const DOWN: &str = "\u{e015}";
pub(crate) const UP: &str = "\u{e013}";

/// Browser with one window; closed on drop.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    name: &'static str,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _closed_or_dead = self.try_ask("DELETE", "", None);
        let _already_dead = self.driver.kill();
        let _nothing_to_reap = self.driver.wait();
    }
}

/// Returns the directory of screenshots and axe-core.
fn directory() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_outrigger"));
    let target = binary.ancestors().nth(2).expect("the binary is in target/<profile>").to_owned();
    target.join("page")
}

impl Browser {
    /// Starts a browser for a test; names of its screenshots begin with `name`.
    pub(crate) fn start(name: &'static str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs; tests/page/build provides it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok());
        std::thread::spawn(move || lines.for_each(drop));
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("chromedriver tells its port")));
        let mut browser = Self { driver, address, session: String::new(), name };
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US"];
        let options = json!({"args": arguments});
        let wanted = json!({
            "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": {"script": 60_000},
        });
        let session = browser.ask("POST", "/session", Some(json!({"capabilities": {"alwaysMatch": wanted}})));
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser.resize(1360, 900);
        browser
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{}: {method} {path}: {error}", self.name))
    }

    fn try_ask(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let (path, length) = (format!("{}{path}", self.session), body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line)?;
            if let Some((key, value)) = line.split_once(':')
                && key.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        answer.read_exact(&mut bytes)?;
        let value = serde_json::from_slice::<Value>(&bytes)?["value"].take();
        ensure!(value["error"].is_null(), "{}: {}", value["error"], value["message"]);
        Ok(value)
    }

    /// Goes to an address.
    pub(crate) fn go(&self, url: &str) {
        self.ask("POST", "/url", Some(json!({"url": url})));
    }

    /// Follows the hash within the page, as a link would.
    pub(crate) fn follow(&self, hash: &str) {
        self.run(&format!("location.hash = {}", json!(hash)));
    }

    /// Runs a script and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(json!({"script": script, "args": []})))
    }

    /// Returns the value of an expression.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}"))
    }

    /// Waits until an expression holds, and returns its value.
    pub(crate) async fn until(&self, expression: &str) -> Value {
        await_condition(expression, TIMEOUT, async || {
            let value = self.try_ask(
                "POST",
                "/execute/sync",
                Some(json!({"script": format!("return {expression}"), "args": []})),
            )?;
            let holds = !matches!(value, Value::Null | Value::Bool(false));
            if !holds {
                let text = self.try_ask(
                    "POST",
                    "/execute/sync",
                    Some(json!({"script": "return document.body.innerText.slice(0, 1500)", "args": []})),
                )?;
                anyhow::bail!("{value}; the page shows: {text}");
            }
            Ok(value)
        })
        .await
    }

    /// Waits until an element is visible.
    pub(crate) async fn until_shown(&self, css: &str) {
        self.until(&format!(
            "document.querySelector({}) !== null && document.querySelector({0}).checkVisibility()",
            json!(css)
        ))
        .await;
    }

    /// Waits until the page shows a text.
    pub(crate) async fn until_text(&self, css: &str, part: &str) {
        self.until(&format!("(document.querySelector({})?.innerText ?? '').includes({})", json!(css), json!(part)))
            .await;
    }

    fn element(&self, css: &str) -> anyhow::Result<String> {
        let found = self.try_ask("POST", "/element", Some(json!({"using": "css selector", "value": css})))?;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        Ok(id.context("no element")?.to_owned())
    }

    /// Clicks with the mouse, as soon as that hits the element.
    pub(crate) async fn click(&self, css: &str) {
        await_condition(&format!("a click on {css}"), TIMEOUT, async || {
            let element = self.element(css)?;
            self.try_ask("POST", &format!("/element/{element}/click"), Some(json!({})))
        })
        .await;
    }

    /// Types into an element.
    pub(crate) fn write(&self, css: &str, text: &str) {
        let element = self.element(css).unwrap_or_else(|error| panic!("{css}: {error}"));
        self.ask("POST", &format!("/element/{element}/value"), Some(json!({"text": text})));
    }

    /// Presses keys, wherever the focus is.
    pub(crate) fn press(&self, keys: &[&str]) {
        let strokes: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        let source = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.ask("POST", "/actions", Some(json!({"actions": [source]})));
    }

    /// Runs a command of the developer tools.
    pub(crate) fn tools(&self, command: &str, parameters: &Value) {
        self.ask("POST", "/goog/cdp/execute", Some(json!({"cmd": command, "params": parameters})));
    }

    /// Sets the preferred color scheme.
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.tools("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
    }

    /// Sets the size of the page, independent of the window.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Saves a screenshot of the page, as an artefact.
    pub(crate) fn picture(&self, of: &str) {
        let picture = self.ask("GET", "/screenshot", None);
        let bytes = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        assert!(bytes.len() > 2000, "an empty picture");
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(directory().join(format!("{}-{of}.png", self.name)), bytes).unwrap();
    }

    /// Returns the console messages since the last call, without the expected ones.
    pub(crate) fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let log = self.ask("POST", "/se/log", Some(json!({"type": "browser"})));
        let entries = log.as_array().unwrap().iter();
        let texts = entries.map(|entry| format!("{}: {}", entry["level"], entry["message"].as_str().unwrap()));
        texts.filter(|text| !expected.iter().any(|part| text.contains(part))).collect()
    }

    /// Returns the serious and critical violations that axe-core finds, one line each.
    pub(crate) fn barriers(&self) -> Vec<String> {
        let path = directory().join("axe.min.js");
        let axe = std::fs::read_to_string(path).expect("tests/page/build provides axe-core");
        if self.value("typeof axe") == "undefined" {
            self.run(&format!("{axe}; window.axe = axe;"));
        }
        let script = "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']})\
            .then((found) => done({violations: found.violations, passes: found.passes.length}), (error) => done({error: String(error)}))";
        let found = self.ask("POST", "/execute/async", Some(json!({"script": script, "args": []})));
        assert!(found["passes"].as_u64().is_some_and(|passes| passes > 5), "axe looked at nothing: {found}");
        let is_grave = |one: &&Value| ["serious", "critical"].contains(&one["impact"].as_str().unwrap_or_default());
        let told = |one: &Value| {
            let nodes: Vec<_> =
                one["nodes"].as_array().unwrap().iter().take(3).map(|node| node["html"].to_string()).collect();
            format!("{} ({}): {}", one["id"], one["help"], nodes.join(", "))
        };
        found["violations"].as_array().unwrap().iter().filter(is_grave).map(told).collect()
    }
}
