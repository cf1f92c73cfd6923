//! The dashboard's files. They hold nothing of the proxy: what they show comes from the API.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Where each file is, what it is, and what it holds.
const FILES: [(&str, &str, &str); 6] = [
    ("/", HTML, include_str!("../../dashboard/index.html")),
    ("/dashboard.css", CSS, include_str!("../../dashboard/dashboard.css")),
    ("/dashboard.js", SCRIPT, include_str!("../../dashboard/dashboard.js")),
    ("/history.js", SCRIPT, include_str!("../../dashboard/history.js")),
    ("/plot.js", SCRIPT, include_str!("../../dashboard/plot.js")),
    ("/table.js", SCRIPT, include_str!("../../dashboard/table.js")),
];

pub(super) fn routes() -> Router<Arc<super::State>> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, media, text)| router.route(path, get(move || file(media, text))))
}

async fn file(media: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media)], text).into_response()
}
