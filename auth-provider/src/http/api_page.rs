//! The `OpenAPI` document as a page: one HTML text that needs nothing else, made once. What comes out of the document is
//! escaped, all of it.

use std::iter;

use super::openapi::{Api, Either, Operation, Others, Parameter, Path, Response, Schema, Tag};

/// All that the page looks like. The page's policy names its hash, so that no other style can come in.
pub(super) const STYLE: &str = include_str!("api_page.css");

/// What texts without control characters have for a pattern: easier said in words.
const ONE_LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

const SAMPLE_HOST: &str = "https://auth.example.com";

pub(super) fn render(api: &Api) -> String {
    let (info, title) = (&api.info, escape(&api.info.title));
    let head = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
    );
    let header = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n</header>\n{}\
         <p class=\"soft\">Version {}. For programs: <a href=\"openapi.json\">openapi.json</a>.</p>\n",
        words(&info.summary),
        paragraphs(&info.description),
        escape(&info.version),
    );
    let chapters: String = api.tags.iter().map(|tag| chapter(api, tag)).collect();
    format!(
        "{head}<body>\n{}<main>\n{header}{chapters}{}</main>\n</body>\n</html>\n",
        contents(api),
        objects(api),
    )
}

/// The operations with this tag: path, method, what is said of the path, and what is said of the operation.
fn tagged<'a>(
    api: &'a Api,
    tag: &'a Tag,
) -> impl Iterator<Item = (&'a str, &'static str, &'a Path, &'a Operation)> {
    let all = api.paths.iter().flat_map(|(path, item)| {
        let operations = item.operations();
        operations.map(move |(method, operation)| (path, method, item, operation))
    });
    all.filter(move |(.., operation)| operation.tags[0] == tag.name)
}

fn contents(api: &Api) -> String {
    let line = |method: &str, operation: &Operation| {
        format!(
            "<li><a href=\"#{}\"><b class=\"{}\">{method}</b> {}</a></li>\n",
            escape(&operation.id),
            method.to_lowercase(),
            escape(&operation.summary),
        )
    };
    let chapter = |tag: &Tag| {
        let lines: String = tagged(api, tag)
            .map(|(_, method, _, operation)| line(method, operation))
            .collect();
        let (id, name) = (anchor(&tag.name), escape(&tag.name));
        format!("<h2><a href=\"#{id}\">{name}</a></h2>\n<ul>\n{lines}</ul>\n")
    };
    let chapters: String = api.tags.iter().map(chapter).collect();
    format!(
        "<nav aria-label=\"Contents\">\n{chapters}<h2><a href=\"#on-objects\">Objects</a></h2>\n</nav>\n"
    )
}

fn chapter(api: &Api, tag: &Tag) -> String {
    let operations: String = tagged(api, tag)
        .map(|(path, method, shared, operation)| section(api, path, method, shared, operation))
        .collect();
    format!(
        "<h2 id=\"{}\">{}</h2>\n<p class=\"soft\">{}</p>\n{operations}",
        anchor(&tag.name),
        escape(&tag.name),
        words(&tag.description),
    )
}

fn objects(api: &Api) -> String {
    let object = |(name, schema): (&str, &Schema)| {
        let (text, members) = (described(schema), members(api, schema));
        format!(
            "<section class=\"schema\" id=\"{name}\">\n<h3>{name}</h3>\n{text}{members}</section>\n"
        )
    };
    let with_members = |(_, schema): &(&str, &Schema)| !schema.properties.is_empty();
    let all: String = api
        .components
        .schemas
        .iter()
        .filter(with_members)
        .map(object)
        .collect();
    format!(
        "<h2 id=\"on-objects\">Objects</h2>\n<p class=\"soft\">What is sent and answered.</p>\n{all}"
    )
}

fn section(api: &Api, path: &str, method: &str, shared: &Path, operation: &Operation) -> String {
    let scope = match operation.security.first() {
        Some(security) => format!("scope <code>{}</code>", escape(&security.admin_token[0])),
        None => "open to everyone".to_owned(),
    };
    let address = format!("{}{path}", api.servers[0].url);
    let all = shared.parameters.iter().chain(&operation.parameters);
    let all: Vec<_> = all.map(|parameter| api.parameter(parameter)).collect();
    format!(
        "<section class=\"operation\" id=\"{}\">\n<h3>{}</h3>\n<p class=\"call\"><b class=\"{}\">{method}</b> \
         <code>{}</code> <span class=\"scope\">{scope}</span></p>\n{}{}{}{}\
         <h4>Example</h4>\n<pre><code>{}</code></pre>\n</section>\n",
        escape(&operation.id),
        escape(&operation.summary),
        method.to_lowercase(),
        escape(&address).replace('/', "/<wbr>"),
        paragraphs(
            operation
                .description
                .rsplit_once("Scope: ")
                .map_or(&operation.description, |(text, _)| text)
        ),
        parameters(api, &all),
        body(api, operation),
        answers(api, operation),
        escape(&curl(api, method, &address, &all, operation)),
    )
}

fn parameters(api: &Api, all: &[&Parameter]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let one = |parameter: &&Parameter| {
        let Parameter {
            name,
            place,
            required,
            schema,
            description,
        } = parameter;
        entry(api, name, place, *required, schema, description)
    };
    let all: String = all.iter().map(one).collect();
    format!("<h4>Parameters</h4>\n<dl>\n{all}</dl>\n")
}

fn body(api: &Api, operation: &Operation) -> String {
    let Some(body) = &operation.request_body else {
        return String::new();
    };
    let types = body
        .content
        .iter()
        .map(|(name, _)| format!("<code>{}</code>", escape(name)));
    let types = types.collect::<Vec<_>>().join(" or ");
    let must = if body.required {
        ""
    } else {
        ", may be left out"
    };
    let schema = body
        .content
        .iter()
        .next()
        .map(|(_, media)| resolved(api, &media.schema));
    let shown: String = schema
        .iter()
        .flat_map(|schema| iter::once(*schema).chain(&schema.any_of))
        .map(|schema| described(schema) + &members(api, schema) + &sample(schema))
        .collect();
    format!("<h4>Body</h4>\n<p><small>{types}{must}</small></p>\n{shown}")
}

/// A body that is text and no object is best shown by an example.
fn sample(schema: &Schema) -> String {
    let text = schema.examples.first().and_then(|example| example.as_str());
    text.map(|text| format!("<pre><code>{}</code></pre>\n", escape(text)))
        .unwrap_or_default()
}

fn answers(api: &Api, operation: &Operation) -> String {
    let answer = |status: &str, response: &Response| {
        let good = status < "4";
        let shown = response.content.iter().next().filter(|_| good);
        let object = shown
            .map(|(_, media)| format!("<br><small>{}</small>", schema_words(api, &media.schema)));
        format!(
            "<div><dt><span class=\"{}\">{status}</span></dt><dd>{}{}</dd></div>\n",
            if good { "good" } else { "bad" },
            words(&response.description),
            object.unwrap_or_default(),
        )
    };
    let all = operation.responses.iter();
    let (good, bad): (Vec<_>, Vec<_>) = all.partition(|(status, _)| *status < "4");
    let shown = |some: &[(&str, &Either<Response>)]| -> String {
        some.iter()
            .map(|(status, response)| answer(status, api.response(response)))
            .collect()
    };
    let statuses: Vec<_> = bad.iter().map(|(status, _)| *status).collect();
    format!(
        "<h4>Answers</h4>\n<dl class=\"answers\">\n{}</dl>\n<details>\n<summary>Refusals: {}</summary>\n\
         <dl class=\"answers\">\n{}</dl>\n</details>\n",
        shown(&good),
        statuses.join(", "),
        shown(&bad),
    )
}

fn members(api: &Api, schema: &Schema) -> String {
    if schema.properties.is_empty() {
        return String::new();
    }
    // An answer has all its members; where some are required and some not, it is worth saying.
    let all = schema.required.len() == schema.properties.iter().count();
    let member = |(name, member): (&str, &Schema)| {
        let required = !all && schema.required.iter().any(|required| required == name);
        let text = member
            .description
            .as_ref()
            .or(resolved(api, member).description.as_ref());
        entry(
            api,
            name,
            "",
            required,
            member,
            text.map_or("", String::as_str),
        )
    };
    let members: String = schema.properties.iter().map(member).collect();
    format!("<dl>\n{members}</dl>\n")
}

/// One parameter or member: its name, what it means, what is allowed.
fn entry(
    api: &Api,
    name: &str,
    place: &str,
    required: bool,
    schema: &Schema,
    text: &str,
) -> String {
    let must = if required {
        " <small class=\"must\">required</small>"
    } else {
        ""
    };
    let default = schema
        .default
        .as_ref()
        .or(resolved(api, schema).default.as_ref());
    let default =
        default.map(|value| format!("; default <code>{}</code>", escape(&value.to_string())));
    format!(
        "<div><dt><code>{}</code> <small>{}</small>{must}</dt><dd><p>{}</p><small>{}{}</small></dd></div>\n",
        escape(name),
        escape(place),
        words(text),
        schema_words(api, schema),
        default.unwrap_or_default(),
    )
}

fn described(schema: &Schema) -> String {
    paragraphs(schema.description.as_deref().unwrap_or_default())
}

fn resolved<'a>(api: &'a Api, schema: &'a Schema) -> &'a Schema {
    match &schema.reference {
        Some(reference) => api.schema(reference).1,
        None => schema,
    }
}

/// What fits the schema, in words.
fn schema_words(api: &Api, schema: &Schema) -> String {
    if let Some(reference) = &schema.reference {
        let (name, target) = api.schema(reference);
        if !target.properties.is_empty() {
            return format!("<a href=\"#{name}\">{name}</a>");
        }
        return schema_words(api, target);
    }
    if let Some(title) = &schema.title {
        return escape(title);
    }
    if !schema.any_of.is_empty() {
        let each = schema.any_of.iter().map(|one| schema_words(api, one));
        return each.collect::<Vec<_>>().join(" or ");
    }
    if !schema.values.is_empty() {
        let each = schema
            .values
            .iter()
            .map(|value| format!("<code>{}</code>", escape(value)));
        return each.collect::<Vec<_>>().join(", ");
    }
    let kinds = schema.kind.as_ref().map_or(&[][..], |kind| kind.names());
    let each = kinds.iter().map(|kind| kind_words(api, kind, schema));
    each.collect::<Vec<_>>().join(" or ")
}

fn kind_words(api: &Api, kind: &str, schema: &Schema) -> String {
    match kind {
        "string" => text_words(schema),
        "integer" => match (schema.minimum, schema.maximum) {
            (Some(least), Some(most)) => format!("whole number, {least} to {most}"),
            (Some(least), None) => format!("whole number, at least {least}"),
            _ => "whole number".to_owned(),
        },
        "boolean" => "<code>true</code> or <code>false</code>".to_owned(),
        "null" => "<code>null</code>".to_owned(),
        "array" => {
            let items = schema.items.as_ref().map(|items| schema_words(api, items));
            format!(
                "list{} of: {}",
                at_most(schema.max_items),
                items.unwrap_or_default()
            )
        }
        _ => match &schema.additional_properties {
            Some(Others::Each(each)) => {
                format!(
                    "object{}, each member: {}",
                    at_most(schema.max_properties),
                    schema_words(api, each)
                )
            }
            _ => "object".to_owned(),
        },
    }
}

fn at_most(most: Option<u64>) -> String {
    most.map(|most| format!(" (at most {most})"))
        .unwrap_or_default()
}

fn text_words(schema: &Schema) -> String {
    let length = match (schema.min_length, schema.max_length) {
        (Some(least), Some(most)) => format!(", {least} to {most} characters"),
        (None, Some(most)) => format!(", at most {most} characters"),
        _ => String::new(),
    };
    let pattern = match schema.pattern.as_deref() {
        Some(ONE_LINE) => ", no control characters".to_owned(),
        Some(pattern) => format!(", <code>{}</code>", escape(pattern)),
        None => String::new(),
    };
    format!("text{length}{pattern}")
}

/// The call as one would type it.
fn curl(
    api: &Api,
    method: &str,
    address: &str,
    parameters: &[&Parameter],
    operation: &Operation,
) -> String {
    let mut address = format!("{SAMPLE_HOST}{address}");
    for parameter in parameters
        .iter()
        .filter(|parameter| parameter.place == "path")
    {
        let examples = &resolved(api, &parameter.schema).examples;
        let example = examples
            .first()
            .and_then(|example| example.as_str())
            .unwrap_or_default();
        address = address.replace(&format!("{{{}}}", parameter.name), example);
    }
    let body = operation
        .request_body
        .as_ref()
        .and_then(|body| body.content.iter().next());
    let token = if operation.security.is_empty() {
        ""
    } else {
        " -H \"Authorization: Bearer $TOKEN\""
    };
    // curl's own choice is GET, and POST when there is a body.
    let chosen = if body.is_some() { "POST" } else { "GET" };
    let method = if method == chosen {
        String::new()
    } else {
        format!(" -X {method}")
    };
    let body = body.map(|(media_type, media)| {
        let data = match &media.example {
            Some(example) => format!("-d '{}'", example.to_string().replace('\'', r"'\''")),
            None => "--data-binary @policy.toml".to_owned(),
        };
        format!("-H \"Content-Type: {media_type}\" \\\n  {data} \\\n  ")
    });
    format!(
        "curl{token}{method} \\\n  {}{address}",
        body.unwrap_or_default()
    )
}

/// Paragraphs, and blocks of code between three backticks.
fn paragraphs(text: &str) -> String {
    let blocks = text.trim().split("\n\n").filter(|block| !block.is_empty());
    let block = |block: &str| match block
        .strip_prefix("```")
        .and_then(|code| code.strip_suffix("```"))
    {
        Some(code) => format!("<pre><code>{}</code></pre>\n", escape(code.trim())),
        None => format!("<p>{}</p>\n", words(block)),
    };
    blocks.map(block).collect()
}

/// `code` and **weight**, the two marks that the document's texts have.
fn words(text: &str) -> String {
    let code = |part: &str| format!("<code>{}</code>", escape(part));
    let weighty = |part: &str| format!("<strong>{}</strong>", escape(part));
    every_other(
        text,
        "`",
        |text| every_other(text, "**", escape, weighty),
        code,
    )
}

/// What lies between two marks is written in one way, the rest in another.
fn every_other(
    text: &str,
    mark: &str,
    outside: impl Fn(&str) -> String,
    between: impl Fn(&str) -> String,
) -> String {
    let parts = text.split(mark).enumerate();
    parts
        .map(|(index, part)| {
            if index % 2 == 0 {
                outside(part)
            } else {
                between(part)
            }
        })
        .collect()
}

fn anchor(name: &str) -> String {
    escape(&format!("on-{}", name.to_lowercase().replace(' ', "-")))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_document_says_is_text_and_never_markup() {
        let evil = r#"<script>alert("1")</script>&'"#;
        let harmless = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;";
        assert_eq!(escape(evil), harmless);
        for marked in [evil.to_owned(), format!("`{evil}`"), format!("**{evil}**")] {
            let shown = paragraphs(&marked);
            assert!(
                shown.contains(harmless) && !shown.contains("<script"),
                "{shown}"
            );
        }
        let document =
            include_str!("openapi.json").replace("Create a client", &evil.replace('"', "\\\""));
        let page = render(&serde_json::from_str(&document).unwrap());
        assert!(page.contains(harmless) && !page.contains("<script"));
    }

    #[test]
    fn the_two_marks_are_shown() {
        assert_eq!(words("a `b` **c**"), "a <code>b</code> <strong>c</strong>");
        assert_eq!(
            paragraphs("a\n\n```\nb\n```"),
            "<p>a</p>\n<pre><code>b</code></pre>\n"
        );
    }
}
