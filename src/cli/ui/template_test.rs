//! Templates as people write them for Docker.

use serde_json::json;

use super::*;

fn rendered(template: &str) -> String {
    let value = json!({
        "Id": "sha256:abc", "Size": 1200, "Tags": ["a:1", "b:2"], "Nothing": null, "Empty": [],
        "Config": { "Env": ["A=1", "B=2"], "Labels": { "x.y": "1", "z": "2" }, "User": "" },
    });
    Template::parse(template).and_then(|template| template.render(&value)).unwrap_or_else(|error| format!("{error:#}"))
}

#[test]
fn templates_do_what_gos_do() {
    for (template, expected) in [
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Id }} {{.Size}}\\t{{.Size}}", "sha256:abc 1200\t1200"),
        (
            "{{.}}",
            "map[Config:map[Env:[A=1 B=2] Labels:map[x.y:1 z:2] User:] Empty:[] Id:sha256:abc Nothing:<no value> Size:1200 Tags:[a:1 b:2]]",
        ),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{json .Config.Env}}", r#"["A=1","B=2"]"#),
        ("{{.Config.Env | json}}", r#"["A=1","B=2"]"#),
        ("{{index .Tags 0}}", "a:1"),
        (r#"{{index .Config.Labels "x.y"}}"#, "1"),
        (r#"{{(index .Config.Labels "z")}}{{len .Tags}}"#, "22"),
        ("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "x.y=1 z=2 "),
        ("{{range $i, $t := .Tags}}{{if $i}},{{end}}{{$t}}{{end}}", "a:1,b:2"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .Config.User}}user{{else if .Tags}}tags{{else}}-{{end}}", "tags"),
        ("{{with .Config}}{{.Env}}{{$.Id}}{{end}}", "[A=1 B=2]sha256:abc"),
        ("{{with .Nothing}}x{{else}}y{{end}}", "y"),
        (r#"{{join .Tags ", "}} {{join (split "a-b" "-") "+"}}"#, "a:1, b:2 a+b"),
        (r#"{{upper "ab"}} {{title "ab cd"}} {{truncate .Id 6}}"#, "AB Ab Cd sha256"),
        (r#"{{printf "%s=%-5d|%q" .Id .Size "t"}}"#, "sha256:abc=1200 |\"t\""),
        (r#"{{if and .Id (eq .Size 1200) (not .Empty)}}yes{{end}}"#, "yes"),
        ("{{if gt .Size 1000}}big{{end}}", "big"),
        ("{{/* a remark */}}a {{- \"b\" -}} c", "abc"),
        ("{{$x := .Id}}{{$x}}", "sha256:abc"),
        ("{{.Config.Absent}}", "<no value>"),
        ("{{\"}}\"}}", "}}"),
    ] {
        assert_eq!(rendered(template), expected, "{template}");
    }
}

#[test]
fn what_is_wrong_with_a_template_is_said() {
    for (template, expected) in [
        ("{{.Idd}}", "There is no field Idd; there are Config, Empty, Id, Nothing, Size, Tags"),
        ("{{.Id", "A {{ is not closed by }}"),
        ("{{if .Id}}x", "An {{if}} has no {{end}}"),
        ("{{end}}", "{{end}} has nothing to end"),
        ("{{frob .Id}}", "There is no function frob"),
        ("{{index .Tags 7}}", "There is no element 7: the list has 2"),
        ("{{.Id .Size}}", "Two values stand side by side without a function"),
        ("{{}}", "A value is missing"),
        ("{{.Id.X}}", "has no fields"),
        ("{{(.Id}}", "A ( is not closed"),
        ("{{$y}}", "There is no variable $y"),
        ("{{\"a}}", "A {{ is not closed by }}"),
    ] {
        let error = rendered(template);
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn rows_are_aligned() {
    let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
    assert_eq!(align(&rows), "A      B\nlong   c\n");
    assert!(matches!(Form::parse("table").unwrap(), Form::Table));
    assert!(matches!(Form::parse("table {{.ID}}").unwrap(), Form::Columns(_)));
    assert!(Form::parse("").is_err());
}
