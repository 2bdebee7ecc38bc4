//! The routes, and their description.

mod dead;
mod events;
mod kinds;
mod knowledge;
mod publish;
mod status;
mod submit;
mod tasks;
mod watch;
mod workers;
mod ws;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{Method, Uri};
use axum::{Router, middleware};
use ganger_common::message::Durability;
use ganger_common::view::StateFilter;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use submit::{ended, new_task, show};
pub(crate) use tasks::refused_items;

use crate::app::App;
use crate::feed::Event;
use crate::model::{DeadFilter, Ended, Missed, Partial, Problem, Progress, Shown, Watching};
use crate::refusal::Refusal;
use crate::{gate, metrics, page};

/// The part of the description that is not with the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Ganger", description = "Hand out work, and see to it. See docs/http.md."),
    components(schemas(
        Problem, Shown, Durability, StateFilter, DeadFilter, Ended, Missed, Partial, Progress, Event, Watching
    )),
    modifiers(&Token)
)]
struct Page;

/// A token, where the broker has keys.
struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, page: &mut OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        page.components.get_or_insert_default().add_security_scheme("token", scheme);
        let none = SecurityRequirement::default();
        page.security = Some(vec![none, SecurityRequirement::new("token", Vec::<String>::new())]);
    }
}

/// What any route may answer instead of doing what it is for.
pub(crate) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let rows = [
            ("400", "It is not understood, or a value is not allowed"),
            ("401", "A token is needed"),
            ("403", "Not allowed"),
            ("404", "There is no such thing"),
            ("405", "Not by this method"),
            ("408", "The body did not come in time"),
            ("409", "It is not as the request takes it to be"),
            ("413", "Too large, or too many"),
            ("415", "The body is of another type"),
            ("429", "No room at the moment"),
            ("502", "The broker was not understood"),
            ("503", "The broker does not answer, or takes nothing"),
        ];
        let response = |text: &str| {
            let content = Content::builder().schema(Some(Ref::from_schema_name("Problem"))).build();
            RefOr::T(ResponseBuilder::new().description(text).content("application/json", content).build())
        };
        rows.into_iter().map(|(status, text)| (status.to_owned(), response(text))).collect()
    }
}

fn routes() -> (Router<Arc<App>>, OpenApi) {
    OpenApiRouter::with_openapi(Page::openapi())
        .routes(routes!(submit::submit, tasks::list))
        .routes(routes!(tasks::one, tasks::cancel))
        .routes(routes!(tasks::retry))
        .routes(routes!(tasks::explain))
        .routes(routes!(tasks::payload))
        .routes(routes!(tasks::result))
        .routes(routes!(events::follow))
        .routes(routes!(watch::watch))
        .routes(routes!(ws::talk))
        .routes(routes!(workers::list))
        .routes(routes!(workers::drain))
        .routes(routes!(status::kinds))
        .routes(routes!(kinds::pause))
        .routes(routes!(kinds::resume))
        .routes(routes!(dead::list))
        .routes(routes!(dead::retry))
        .routes(routes!(dead::discard))
        .routes(routes!(knowledge::list))
        .routes(routes!(knowledge::status))
        .routes(routes!(knowledge::get, knowledge::put, knowledge::delete))
        .routes(routes!(publish::publish))
        .routes(routes!(status::status))
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::metrics))
        .routes(routes!(status::page))
        .split_for_parts()
}

/// The description of the routes, as OpenAPI 3.1.
pub fn description() -> OpenApi {
    routes().1
}

/// The routes, with all that a request passes on its way to them.
pub(crate) fn router(app: Arc<App>) -> Router {
    routes()
        .0
        .merge(page::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), gate::guard))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}

async fn no_route(uri: Uri) -> Refusal {
    Refusal::no_route(format!("there is nothing at {:?}", uri.path()))
}

async fn wrong_method(method: Method) -> Refusal {
    Refusal::wrong_method(format!("{method} is not for this path"))
}
