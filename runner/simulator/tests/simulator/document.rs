//! Fly's OpenAPI document, read strictly: what it does not name is not allowed either, except for
//! what is listed here with its source.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Its source and date are in `FIDELITY.md`.
const DOCUMENT: &str = include_str!("../data/machines-openapi.json");

/// Fields that the document does not name, by schema.
const UNNAMED_FIELDS: [(&str, &str); 3] = [
    // fly-go reads it (`machine_types.go`).
    ("Machine", "cordoned"),
    // A newer document names it for listings with `include_leases`.
    ("Machine", "lease"),
    // fly-go prefers it to `error` (`flaps.go`).
    ("ErrorResponse", "message"),
];

/// The answers of leases, which the document gives without the envelope that fly-go reads.
const ENVELOPES: [(&str, &str); 2] = [("GET", "200"), ("POST", "201")];

pub(crate) struct Document(Value);

/// An operation of the document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) template: String,
}

impl Document {
    pub(crate) fn read() -> Document {
        let mut document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        convert(&mut document);
        let schemas = document["components"]["schemas"].as_object_mut();
        for schema in schemas.into_iter().flat_map(|schemas| schemas.values_mut()) {
            if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
                schema["additionalProperties"] = json!(false);
            }
        }
        for (schema, field) in UNNAMED_FIELDS {
            let properties = &mut document["components"]["schemas"][schema]["properties"];
            assert!(
                properties.get(field).is_none(),
                "{schema}.{field} is named by now"
            );
            properties[field] = json!({});
        }
        Document(document)
    }

    /// Every operation that it describes.
    pub(crate) fn operations(&self) -> BTreeSet<Operation> {
        let paths = self.0["paths"].as_object().into_iter().flatten();
        let methods = paths.flat_map(|(template, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            let methods = methods.filter(|(name, _)| *name != "parameters");
            methods.map(|(method, _)| Operation {
                method: method.to_uppercase(),
                template: template.clone(),
            })
        });
        methods.collect()
    }

    /// The operation of a request, if the document has one: a fixed segment goes before a
    /// parameter.
    pub(crate) fn operation(&self, method: &str, target: &str) -> Option<Operation> {
        let path = target.split('?').next()?.strip_prefix("/v1")?;
        let asked: Vec<_> = path.split('/').collect();
        let fits = |operation: &Operation| {
            let template: Vec<_> = operation.template.split('/').collect();
            let same = |(named, asked): (&&str, &&str)| {
                named == asked || is_parameter(named) && !asked.is_empty()
            };
            operation.method == method
                && template.len() == asked.len()
                && template.iter().zip(&asked).all(same)
        };
        let parameters = |operation: &Operation| {
            operation
                .template
                .split('/')
                .filter(|s| is_parameter(s))
                .count()
        };
        self.operations()
            .into_iter()
            .filter(fits)
            .min_by_key(parameters)
    }

    /// What is wrong with the body of a request.
    pub(crate) fn request(&self, operation: &Operation, body: &str) -> Result<(), String> {
        let request = &self.entry(operation)["requestBody"]["content"]["application/json"];
        if body.is_empty() {
            return Ok(());
        }
        match request.get("schema") {
            Some(schema) => self.validate(schema, body),
            None => Err("a body where none is described".into()),
        }
    }

    /// What is wrong with an answer. `Ok(false)`: nothing, but the document does not name this
    /// status for this operation; a refusal is then read as any other refusal.
    pub(crate) fn answer(
        &self,
        operation: &Operation,
        status: u16,
        body: &str,
    ) -> Result<bool, String> {
        let code = status.to_string();
        let described = &self.entry(operation)["responses"][&code];
        if status >= 400 {
            let refusal = json!({ "$ref": "#/components/schemas/ErrorResponse" });
            self.validate(&refusal, body)?;
            return Ok(described.is_object());
        }
        if !described.is_object() {
            return Err(format!("{status} is not described"));
        }
        let Some(schema) = described["content"]["application/json"].get("schema") else {
            return Ok(true);
        };
        let lease = operation.template.ends_with("/lease")
            && ENVELOPES.contains(&(operation.method.as_str(), code.as_str()));
        if lease {
            let envelope: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
            if envelope["status"] != "success" {
                return Err(format!("not the envelope of a lease: {body}"));
            }
            return self
                .validate(schema, &envelope["data"].to_string())
                .map(|()| true);
        }
        self.validate(schema, body).map(|()| true)
    }

    /// The parameters of a query that the document does not name.
    pub(crate) fn unnamed_parameters(&self, operation: &Operation, target: &str) -> Vec<String> {
        let named = self.entry(operation)["parameters"].as_array();
        let named: Vec<_> = named
            .into_iter()
            .flatten()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let names = query
            .split('&')
            .filter_map(|pair| pair.split('=').next())
            .filter(|name| !name.is_empty() && !named.contains(name));
        names.map(str::to_owned).collect()
    }

    fn entry(&self, operation: &Operation) -> &Value {
        &self.0["paths"][&operation.template][operation.method.to_lowercase()]
    }

    fn validate(&self, schema: &Value, body: &str) -> Result<(), String> {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        validator
            .validate(&body)
            .map_err(|error| format!("{error} at `{}` in {body}", error.instance_path()))
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// OpenAPI 3.0 says `nullable` where JSON Schema lists a type.
fn convert(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.remove("nullable") == Some(json!(true))
                && let Some(kind) = object.get("type").cloned()
            {
                object.insert("type".into(), json!([kind, "null"]));
            }
            object.values_mut().for_each(convert);
        }
        Value::Array(list) => list.iter_mut().for_each(convert),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
