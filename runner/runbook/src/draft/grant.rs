//! Reads the grant of one capability: by the form that its keys are known to have, or by that of what
//! stands there.

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Diagnostic};
use crate::grant::{Grant, GrantForm, Limit, VERBS, parse_share};
use crate::read::{Node, Place, Reader, entries};

const PLACE: Place = Place::Admission("grant");

/// Reads the grant of one capability.
pub(super) fn grant(
    reader: &mut Reader<'_>,
    capability: &str,
    table: &DeTable<'_>,
    step: &str,
) -> Grant {
    let known = reader.keys.0.get(capability);
    if let Some(known) = known {
        let names = known.iter().map(|known| known.name.as_str());
        let names: Vec<&str> = [VERBS].into_iter().chain(names).collect();
        reader.known_keys(table, &format!("the grant of `{capability}`"), &names);
    }
    let mut grant = Grant::default();
    for (key, node) in entries(table) {
        let name = key.get_ref().as_ref();
        let path = format!("grant.{capability}.{name}");
        if name == VERBS {
            grant.verbs = reader.templates(node, &path, step, PLACE);
            continue;
        }
        let limit = match known {
            None => by_form(reader, node, &path, step),
            Some(known) => known
                .iter()
                .find(|known| known.name == name)
                .and_then(|known| of_form(reader, known.form, node, &path, step)),
        };
        if let Some(limit) = limit {
            grant.limits.insert(name.to_owned(), limit);
        }
    }
    grant
}

fn of_form(
    reader: &mut Reader<'_>,
    form: GrantForm,
    node: &Node<'_>,
    path: &str,
    step: &str,
) -> Option<Limit> {
    match form {
        GrantForm::Names => Some(Limit::Names(reader.templates(node, path, step, PLACE))),
        GrantForm::Number if node.get_ref().is_str() => {
            let template = reader.template(node, path, step, PLACE)?;
            if template.literal().is_some() {
                reader.wrong_type(node, path, "an integer or one `${…}` that gives an integer");
            }
            Some(Limit::NumberOf(template))
        }
        GrantForm::Number => number(reader, node, path),
        GrantForm::Share => share(reader, node, path, step),
    }
}

fn by_form(reader: &mut Reader<'_>, node: &Node<'_>, path: &str, step: &str) -> Option<Limit> {
    match node.get_ref() {
        DeValue::Integer(_) => number(reader, node, path),
        DeValue::String(text) if parse_share(text).is_some() => share(reader, node, path, step),
        DeValue::String(_) => {
            let template = reader.template(node, path, step, PLACE)?;
            Some(match template.literal() {
                Some(_) => Limit::Names(vec![template]),
                None => Limit::Any(template),
            })
        }
        _ => Some(Limit::Names(reader.templates(node, path, step, PLACE))),
    }
}

fn number(reader: &mut Reader<'_>, node: &Node<'_>, path: &str) -> Option<Limit> {
    let number = reader.integer(node, path)?;
    if number < 0 {
        reader.report(Diagnostic::error(
            Code::InvalidValue,
            node.span(),
            format!("`{path}` cannot be negative"),
        ));
    }
    u64::try_from(number).ok().map(Limit::Number)
}

fn share(reader: &mut Reader<'_>, node: &Node<'_>, path: &str, step: &str) -> Option<Limit> {
    let template = reader.template(node, path, step, PLACE)?;
    if let Some(text) = template.literal()
        && parse_share(text).is_none()
    {
        reader.report(
            Diagnostic::error(
                Code::InvalidValue,
                node.span(),
                format!("`{text}` is not a share"),
            )
            .hint("write a whole number of per cent from `1%` to `100%`, as in `25%`"),
        );
    }
    Some(Limit::Share(template))
}
