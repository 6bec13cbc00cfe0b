//! Owns the OpenAPI document: what can be asked here, for programs and people.

use axum::http::header;
use axum::response::IntoResponse;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::super::routes::ROUTES;
    use super::DOCUMENT;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("it is JSON")
    }

    #[test]
    fn it_has_every_route_and_no_other() {
        let document = document();
        let paths = document["paths"].as_object().expect("there are paths");
        let told: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("an object").keys().filter(|key| *key != "parameters");
                methods.map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let is = |route: &super::super::routes::Route| {
            route.methods.iter().map(|method| ((*method).to_owned(), route.path.to_owned())).collect::<Vec<_>>()
        };
        let served: BTreeSet<(String, String)> = ROUTES.iter().flat_map(is).collect();
        assert_eq!(told, served);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn its_references_lead_somewhere_and_every_operation_says_what_it_answers() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        let at = to.strip_prefix('#').expect("it is in the document");
                        assert!(root.pointer(at).is_some(), "{to}");
                    }
                    map.values().for_each(|value| walk(value, root));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, root)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("there are paths") {
            for (method, operation) in
                item.as_object().expect("an object").iter().filter(|(key, _)| *key != "parameters")
            {
                let name =
                    operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                assert!(operation["responses"]["200"].is_object(), "{method} {path}");
                assert!(operation["summary"].is_string(), "{method} {path}");
            }
        }
    }
}
