//! The dashboard's files. They hold nothing of the proxy: what they show comes from the API.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

pub(super) fn routes() -> Router<Arc<super::State>> {
    Router::new()
        .route("/", get(|| file("text/html; charset=utf-8", include_str!("../../dashboard/index.html"))))
        .route(
            "/dashboard.js",
            get(|| file("text/javascript; charset=utf-8", include_str!("../../dashboard/dashboard.js"))),
        )
        .route("/dashboard.css", get(|| file("text/css; charset=utf-8", include_str!("../../dashboard/dashboard.css"))))
}

async fn file(media: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media)], text).into_response()
}
