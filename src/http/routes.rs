//! Owns the table of what can be asked, and what every answer has in common.

use super::refusal::Refusal;
use super::{App, document, health, metrics, models, update};
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use std::sync::Arc;
use tokio::time::Instant;

/// Something that can be asked.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// How; HEAD goes with GET.
    pub(super) methods: &'static [&'static str],
    handler: fn() -> MethodRouter<Arc<App>>,
}

const fn asked(path: &'static str, handler: fn() -> MethodRouter<Arc<App>>) -> Route {
    Route { path, methods: &["GET"], handler }
}

/// All of it.
pub(super) const ROUTES: &[Route] = &[
    Route { path: "/", methods: &["GET", "POST"], handler: || get(models::newest).post(update::apply) },
    asked("/latest.safetensors", || latest("safetensors")),
    asked("/latest.onnx", || latest("onnx")),
    asked("/latest.npz", || latest("npz")),
    asked("/models", || get(models::all)),
    asked("/models/{job}", || get(models::of_job)),
    asked("/models/{job}/{file}", || get(models::version)),
    asked("/metrics", || get(metrics::scrape)),
    asked("/healthz", || get(health::is_well)),
    asked("/readyz", || get(health::is_ready)),
    asked("/openapi.json", || get(document::document)),
];

fn latest(format: &'static str) -> MethodRouter<Arc<App>> {
    get(move |State(app): State<Arc<App>>, headers: HeaderMap, asked: super::wanted::Asked| {
        models::latest(app, headers, asked, format)
    })
}

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    let routes = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routes
        .fallback(|| async { Refusal::unknown("there is nothing at this address") })
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app)
}

async fn not_allowed(path: MatchedPath) -> Response {
    let methods = ROUTES.iter().find(|route| route.path == path.as_str()).map_or(&[][..], |route| route.methods);
    let allowed =
        methods.iter().flat_map(|&method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] });
    let allowed = allowed.collect::<Vec<_>>().join(", ");
    let advice = format!("use one of these: {allowed}");
    let what = format!("{} cannot be asked in this way", path.as_str());
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, what, advice).into_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// Counts and times each request.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    // What a browser is not to guess.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let route = ROUTES.iter().find(|route| path.as_ref().is_some_and(|path| path.as_str() == route.path));
    let route = route.map_or("other", |route| route.path);
    app.metrics.note(&method, route, response.status(), begin.elapsed());
    response
}
