//! Which apps a query of metrics asks for, so that a grant of apps can cover it.
//!
//! Fly labels each series with its `app`. A selector that says `app="web"` asks for that app and no
//! other; one that does not may answer with any, and counts as [`ANY`].

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::{Expr, parse};

/// All apps: a pattern that only `*` covers, and the name of none.
pub(crate) const ANY: &str = "*";

/// The label that tells the app. (Fly's documentation of its metrics.)
const APP: &str = "app";

/// How deep brackets may be nested: the tree is walked, and dropped, by recursion. Our own bound.
const NESTED: usize = 64;

/// The apps, each once.
///
/// # Errors
/// If it is no query, or nested too deeply, in words.
pub(crate) fn apps(query: &str) -> Result<Vec<String>, String> {
    bounded(query)?;
    let mut apps = Vec::new();
    walk(&parse(query)?, &mut apps);
    apps.sort();
    apps.dedup();
    Ok(apps)
}

fn bounded(query: &str) -> Result<(), String> {
    let (mut depth, mut unary) = (0_usize, 0_usize);
    for byte in query.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'<' | b'>' | b'=' | b'!' => unary += 1,
            _ => {}
        }
        // Chains of operators nest, too.
        if depth > NESTED || unary > 16 * NESTED {
            return Err("it is nested too deeply".to_owned());
        }
    }
    Ok(())
}

fn walk(expr: &Expr, apps: &mut Vec<String>) {
    match expr {
        Expr::Aggregate(aggregate) => {
            walk(&aggregate.expr, apps);
            if let Some(param) = &aggregate.param {
                walk(param, apps);
            }
        }
        Expr::Unary(unary) => walk(&unary.expr, apps),
        Expr::Binary(binary) => {
            walk(&binary.lhs, apps);
            walk(&binary.rhs, apps);
        }
        Expr::Paren(paren) => walk(&paren.expr, apps),
        Expr::Subquery(subquery) => walk(&subquery.expr, apps),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::VectorSelector(selector) => apps.push(app(&selector.matchers)),
        Expr::MatrixSelector(matrix) => apps.push(app(&matrix.vs.matchers)),
        Expr::Call(call) => call.args.args.iter().for_each(|arg| walk(arg, apps)),
        Expr::Extension(_) => apps.push(ANY.to_owned()),
    }
}

fn app(matchers: &Matchers) -> String {
    let pinned =
        |m: &&promql_parser::label::Matcher| m.name == APP && matches!(m.op, MatchOp::Equal);
    let pinned = matchers.matchers.iter().find(pinned);
    match pinned {
        Some(pinned) if matchers.or_matchers.is_empty() && !pinned.value.is_empty() => {
            pinned.value.clone()
        }
        Some(_) | None => ANY.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_selector_says_its_app_or_any() {
        for (query, expected) in [
            ("1", vec![]),
            ("up", vec!["*"]),
            (r#"up{app="web"}"#, vec!["web"]),
            (
                r#"sum(fly_app_concurrency{app="web"}) / sum(up{app="api"})"#,
                vec!["api", "web"],
            ),
            (r#"sum(up{app="web"}) + sum(up)"#, vec!["*", "web"]),
            (r#"up{app=~"web"}"#, vec!["*"]),
            (r#"up{app!="web"}"#, vec!["*"]),
            (r#"up{app=""}"#, vec!["*"]),
            (r#"up{app="web" or app="api"}"#, vec!["*"]),
            (r#"rate(up{app="web"}[5m])"#, vec!["web"]),
            (r#"max_over_time(rate(up[5m])[1h:1m])"#, vec!["*"]),
            (r#"topk(scalar(up), up{app="web"})"#, vec!["*", "web"]),
            (r#"label_replace(up, "app", "web", "", "")"#, vec!["*"]),
            (r#"-up{app="web"} unless (up)"#, vec!["*", "web"]),
        ] {
            assert_eq!(apps(query).unwrap(), expected, "{query}");
        }
        assert!(apps("sum(").is_err());
        let nested = |depth| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(apps(&nested(NESTED)).is_ok());
        assert!(apps(&nested(NESTED + 1)).is_err());
    }
}
