//! Web page: files inside the program. They hold no data, so anybody may have them.

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Content policy: the page loads nothing from elsewhere, runs only these files, and turns no text into markup.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Lists files by their paths, with their types.
macro_rules! files {
    ($($path:literal $name:literal $of:literal,)*) => {
        [$(($path, concat!($of, "; charset=utf-8"), include_str!(concat!("page/", $name)))),*]
    };
}

const FILES: [(&str, &str, &str); 19] = files![
    "/" "index.html" "text/html",
    "/page/page.css" "page.css" "text/css",
    "/page/icon.svg" "icon.svg" "image/svg+xml",
    "/page/main.js" "main.js" "text/javascript",
    "/page/server.js" "server.js" "text/javascript",
    "/page/dom.js" "dom.js" "text/javascript",
    "/page/words.js" "words.js" "text/javascript",
    "/page/overview.js" "overview.js" "text/javascript",
    "/page/workload_table.js" "workload_table.js" "text/javascript",
    "/page/explanation.js" "explanation.js" "text/javascript",
    "/page/suspensions.js" "suspensions.js" "text/javascript",
    "/page/overrides.js" "overrides.js" "text/javascript",
    "/page/preview.js" "preview.js" "text/javascript",
    "/page/acts.js" "acts.js" "text/javascript",
    "/page/dialog.js" "dialog.js" "text/javascript",
    "/page/overriding.js" "overriding.js" "text/javascript",
    "/page/restarting.js" "restarting.js" "text/javascript",
    "/page/live.js" "live.js" "text/javascript",
    "/page/graph.js" "graph.js" "text/javascript",
];

/// Returns the routes of the page.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for (path, media_type, text) in FILES {
        router = router.route(path, get(async move || file_response(media_type, text)));
    }
    router
}

fn file_response(media_type: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let mut set = |name: HeaderName, value| drop(response.headers_mut().insert(name, HeaderValue::from_static(value)));
    set(CONTENT_TYPE, media_type);
    set(CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    set(REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    response
}
