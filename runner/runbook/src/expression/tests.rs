use super::*;

#[test]
fn nesting_cannot_hide() {
    let deep = "(".repeat(200) + "1" + &")".repeat(200);
    for start in [
        "",
        "\"\"\"a\"b\"\"\"+",
        "r'\\'+",
        "// '\n",
        "'\n",
        "'\\q",
        "!-!-",
        "[{1:",
        "''+",
    ] {
        assert!(
            Expression::compile(&format!("{start}{deep}"))
                .unwrap_err()
                .too_complex,
            "{start}"
        );
    }
}

#[test]
fn bounds_hold_at_the_limit_and_one_past_it() {
    let nested = |n: usize| "(".repeat(n) + "1" + &")".repeat(n);
    assert!(Expression::compile(&nested(MAX_NESTING)).is_ok());
    assert!(
        Expression::compile(&nested(MAX_NESTING + 1))
            .unwrap_err()
            .too_complex
    );
    let sum = |n: usize| "1".to_owned() + &"+1".repeat(n);
    assert!(Expression::compile(&sum(MAX_OPERATORS)).is_ok());
    assert!(
        Expression::compile(&sum(MAX_OPERATORS + 1))
            .unwrap_err()
            .too_complex
    );
    let long = |n: usize| format!("'{}'", "a".repeat(n - 2));
    assert!(Expression::compile(&long(MAX_EXPRESSION)).is_ok());
    assert!(
        Expression::compile(&long(MAX_EXPRESSION + 1))
            .unwrap_err()
            .too_complex
    );
}

#[test]
fn evaluation_is_bounded() {
    let inputs = serde_json::json!({ "l": (0..1000).collect::<Vec<_>>(), "m": {"a": 1} });
    let scope = Scope {
        inputs,
        ..Scope::default()
    };
    let run = |text: &str| {
        let expression = Expression::compile(text).unwrap();
        expression.evaluate(&scope, &mut Budget::default())
    };
    assert_eq!(
        run("size(inputs.l.filter(x, x > 500))"),
        Ok(Value::from(499))
    );
    assert_eq!(run("5.0"), Ok(Value::from(5)));
    assert!(run("inputs.l.map(x, inputs.l.map(y, inputs.l))").is_err());
    assert!(run("inputs.m.map(k, k)").is_err());
}

/// A loop within a loop is as long as both, however the list is come by.
#[test]
fn no_list_hides_how_long_it_is() {
    let list: Vec<u64> = (0..3000).collect();
    let inputs = serde_json::json!({ "l": list, "a": [list], "m": { "l": list } });
    let scope = Scope {
        inputs,
        ..Scope::default()
    };
    for list in [
        "inputs.l",
        "inputs.a[0]",
        "inputs['a'][0]",
        "[inputs.l][0]",
        "[inputs.a[0]][0]",
        "{'l': inputs.l}.l",
        "{'l': inputs.l}['l']",
        "{'a': {'l': inputs.l}}.a.l",
        "(true ? inputs.l : [])",
        "dyn(inputs.l)",
        "inputs.m.l",
        "[inputs.m][0].l",
        "inputs.l.map(x, x)",
        "inputs.l.filter(x, true)",
        "inputs.a.map(x, x)[0]",
        "(inputs.l + [])",
    ] {
        let text = format!("size({list}.map(x, {list}.map(y, {list}.filter(z, z == y))))");
        let expression = Expression::compile(&text).unwrap();
        let evaluated = expression.evaluate(&scope, &mut Budget::default());
        assert_eq!(
            evaluated,
            Err("evaluating it could take too long".to_owned()),
            "{list}"
        );
    }
}

/// What is allowed takes no longer than was reckoned.
#[test]
fn the_dearest_that_is_allowed_ends_soon() {
    let began = std::time::Instant::now();
    let mut dearest = 0;
    for length in [1_000, 10_000, 100_000, 1_000_000] {
        let list: Vec<u64> = (0..length).collect();
        let scope = Scope {
            inputs: serde_json::json!({ "l": list }),
            ..Scope::default()
        };
        let short = Expression::compile("size(inputs.l.map(x, x + 1).filter(x, x > 7))").unwrap();
        if short.evaluate(&scope, &mut Budget::default()).is_ok() {
            dearest = length;
        }
    }
    assert!(dearest >= 10_000, "{dearest}");
    assert!(
        began.elapsed().as_secs() < 10,
        "{:?} for {dearest}",
        began.elapsed()
    );
}

#[test]
fn all_together_have_one_budget() {
    let scope = Scope {
        inputs: serde_json::json!({ "t": "x".repeat(1000) }),
        ..Scope::default()
    };
    let expression = Expression::compile("inputs.t").unwrap();
    // Reading it and copying it.
    let one = cost::estimate(
        expression.program.expression(),
        &[("inputs", &scope.inputs)],
    );
    let one = one.unwrap() + cost::of(&scope.inputs) + 3 * cost::of(&Value::Null);
    let mut budget = Budget::new(3 * one);
    for _ in 0..3 {
        assert!(expression.evaluate(&scope, &mut budget).is_ok());
    }
    assert!(!budget.exceeded);
    assert!(expression.evaluate(&scope, &mut budget).is_err());
    assert!(budget.exceeded);
    let mut bytes = Budget {
        bytes: 2 * 1008,
        ..Budget::default()
    };
    assert!(expression.evaluate(&scope, &mut bytes).is_ok());
    assert!(expression.evaluate(&scope, &mut bytes).is_ok());
    assert_eq!(
        expression.evaluate(&scope, &mut bytes),
        Err("its result is too large".to_owned())
    );
}
