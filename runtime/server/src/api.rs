//! The operations: each is named once, with the types that it takes and answers, and from that both the
//! route and its place in the OpenAPI document are made. So neither can say what the other does not.

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use http::Request;
use ringfence::event::KeyScope;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    answer::{Answer, Documented},
    edge,
    problem::{Code, ProblemBody},
    request::{Asked, RequestBody},
    state::State,
};

/// What an operation is, apart from its types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Its name in the document.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// What the caller's key must be for.
    pub(crate) scope: KeyScope,
    /// The errors that only this operation and its like have.
    pub(crate) problems: &'static [Code],
    /// Whether it makes something, and so takes an idempotency key.
    pub(crate) makes: bool,
    /// Whether it goes on for as long as the client reads.
    pub(crate) streams: bool,
}

impl Operation {
    pub(crate) const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        let (scope, problems): (_, &[Code]) = (KeyScope::Read, &[]);
        let (makes, streams) = (false, false);
        Self { method: "get", path, id, summary, scope, problems, makes, streams }
    }

    pub(crate) const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method: "post", scope: KeyScope::Run, ..Self::get(path, id, summary) }
    }

    pub(crate) const fn needs(self, scope: KeyScope) -> Self {
        Self { scope, ..self }
    }

    pub(crate) const fn fails(self, problems: &'static [Code]) -> Self {
        Self { problems, ..self }
    }

    pub(crate) const fn makes(self) -> Self {
        Self { makes: true, ..self }
    }

    pub(crate) const fn streams(self) -> Self {
        Self { streams: true, ..self }
    }
}

/// The routes, and the document that they are described in.
pub(crate) struct Api {
    router: Router<State>,
    paths: Map<String, Value>,
    asked: SchemaGenerator,
    told: SchemaGenerator,
}

impl Api {
    pub(crate) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            router: Router::new(),
            paths: Map::new(),
            asked: settings().for_deserialize().into_generator(),
            told: settings().for_serialize().into_generator(),
        }
    }

    /// Adds an operation.
    pub(crate) fn add<P, Q, B, R, H, F>(mut self, operation: Operation, handler: H) -> Self
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: RequestBody + 'static,
        R: Answer + Send + 'static,
        H: Fn(Asked<P, Q, B>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<R, crate::problem::Problem>> + Send + 'static,
    {
        let mut told = self.documented::<P, Q, B, R>(operation);
        let path = self.paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = told.take();
        let filter = if operation.method == "get" { MethodFilter::GET } else { MethodFilter::POST };
        let serve = move |axum::extract::State(state): axum::extract::State<State>,
                          request: Request<Body>| {
            let handler = handler.clone();
            async move { edge::serve(state, operation, handler, request).await }
        };
        self.router = self.router.route(operation.path, on(filter, serve));
        self
    }

    fn documented<P: JsonSchema, Q: JsonSchema, B: RequestBody, R: Answer>(
        &mut self,
        operation: Operation,
    ) -> Value {
        let mut parameters = fields::<P>("path");
        parameters.extend(fields::<Q>("query"));
        if operation.makes {
            parameters.push(json!({
                "name": "idempotency-key", "in": "header", "required": false,
                "description": "A name of the client's for this request: sent again under it, it is carried out once and answered the same, for 24 hours.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$" },
            }));
        }
        if operation.streams {
            parameters.push(json!({
                "name": "last-event-id", "in": "header", "required": false,
                "description": "The `id` of the last event that was read; goes before `after`.",
                "schema": { "type": "string", "pattern": "^[0-9]{1,19}(\\.[0-9]{1,9})?$" },
            }));
        }
        let mut problems: Vec<Code> = vec![
            Code::BadRequest,
            Code::BadHeader,
            Code::BadQuery,
            Code::Unauthenticated,
            Code::OutOfScope,
            Code::ForeignHost,
            Code::ForeignOrigin,
            Code::LengthRequired,
            Code::UriTooLong,
            Code::Overloaded,
            Code::Internal,
            Code::ServiceFull,
            Code::Unavailable,
            Code::Draining,
            Code::TimedOut,
        ];
        if operation.path.contains('{') {
            problems.push(Code::NotFound);
        }
        let mut told = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "description": format!("Needs an API key with the scope `{}`.", operation.scope),
        });
        let body = B::schema(&mut self.asked);
        problems.extend([Code::RequestTimeout, Code::BodyTooLarge]);
        if let Some(schema) = body {
            told["requestBody"] = json!({
                "required": true, "content": { "application/json": { "schema": schema } },
            });
            problems.extend([Code::BadJson, Code::NotJson, Code::Encoded, Code::Invalid]);
        }
        if operation.makes {
            problems.extend([Code::KeyReused, Code::InProgress]);
        }
        problems.extend(operation.problems);
        if !parameters.is_empty() {
            told["parameters"] = parameters.into();
        }
        told["responses"] = self.responses(R::document, &problems);
        told
    }

    fn responses(
        &mut self,
        answers: fn(&mut SchemaGenerator) -> Vec<Documented>,
        problems: &[Code],
    ) -> Value {
        let mut responses = Map::new();
        for Documented { status, description, content, has_location } in answers(&mut self.told) {
            let mut response = json!({ "description": description });
            for (kind, schema) in content {
                response["content"][kind] = json!({ "schema": schema });
            }
            if has_location {
                response["headers"]["location"] =
                    json!({ "description": "Where it is.", "schema": { "type": "string" } });
            }
            responses.insert(status.to_string(), response);
        }
        let schema = self.told.subschema_for::<ProblemBody>();
        let mut by_status = std::collections::BTreeMap::<u16, Vec<Code>>::new();
        for code in problems {
            let codes = by_status.entry(code.status()).or_default();
            if !codes.contains(code) {
                codes.push(*code);
            }
        }
        for (status, codes) in by_status {
            let words = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title()));
            let words: Vec<String> = words.collect();
            let content = json!({ "application/problem+json": { "schema": schema } });
            let mut response = json!({ "description": words.join(" "), "content": content });
            if matches!(status, 409 | 429 | 503) {
                response["headers"]["retry-after"] = json!({
                    "description": "After how many seconds to ask again, where that is known.",
                    "schema": { "type": "integer", "minimum": 1 },
                });
            }
            if status == 401 {
                response["headers"]["www-authenticate"] =
                    json!({ "description": "`Bearer`.", "schema": { "type": "string" } });
            }
            responses.insert(status.to_string(), response);
        }
        // Told before there is a request, and so without a body.
        let said = "The header fields are too long or too many.";
        responses.insert("431".into(), json!({ "description": said }));
        Value::Object(responses)
    }

    /// The OpenAPI document.
    pub(crate) fn document(&mut self) -> Value {
        let mut schemas = self.told.take_definitions(true);
        for (name, schema) in self.asked.take_definitions(true) {
            // One name is one thing, whoever says it.
            schemas.entry(name).or_insert(schema);
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Ringfence",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Agents whose every tool is a sandboxed WebAssembly component. Whose a request is, and on whose behalf, comes from its API key alone; what belongs to others is answered like what does not exist. What is no HTTP/1.1 request is answered with 400, and one whose head is too long with 431, both without a body, and the connection is closed: it is not known whose request it is. A connection for which there is no room hears 503.",
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "security": [{ "key": [] }],
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": { "key": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key, as `ringfence key create` shows it once.",
                } },
            },
        })
    }

    pub(crate) fn router(self) -> Router<State> {
        self.router
    }
}

/// The fields of a type as parameters.
fn fields<T: JsonSchema>(place: &str) -> Vec<Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.for_deserialize().into_generator().into_root_schema_for::<T>();
    let schema = schema.to_value();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            // A parameter that is not said is left out, not null.
            if let Some(kinds) = schema.get_mut("type")
                && let Some(first) = kinds.as_array().and_then(|kinds| kinds.first()).cloned()
            {
                *kinds = first;
            }
            let description =
                schema.as_object_mut().and_then(|schema| schema.remove("description"));
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("default");
            }
            let mut parameter = json!({
                "name": name, "in": place, "schema": schema,
                "required": place == "path" || required.contains(&name.as_str()),
            });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}

/// An answer for what no operation is at.
pub(crate) fn nothing_there() -> Response {
    let said = "there is nothing at this path; /v1/openapi.json says what there is";
    crate::problem::Problem::new(Code::NotFound, said).into_response()
}
