//! The results in the XML that continuous integration reads, as JUnit writes it.

use std::fmt::{self, Display, Write};

use super::{Outcome, Report, Tested, in_lines};

/// The whole document.
pub(super) fn document(report: &Report) -> String {
    let Report { passed, failed, errors, results } = report;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = passed + failed + errors;
    let _ = writeln!(xml, "<testsuites name=\"outrigger\" tests=\"{all}\" failures=\"{failed}\" errors=\"{errors}\">");
    for suite in results.chunk_by(|left, right| left.file == right.file) {
        of_file(&mut xml, suite);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn of_file(xml: &mut String, tested: &[Tested]) {
    let Some(Tested { file, .. }) = tested.first() else { return };
    let count = |is: fn(&Outcome) -> bool| tested.iter().filter(|one| is(&one.outcome)).count();
    let failures = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let errors = count(|outcome| matches!(outcome, Outcome::Error { .. }));
    let (file, tests) = (Escaped(file), tested.len());
    let _ =
        writeln!(xml, "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">");
    for Tested { name, outcome, .. } in tested {
        let name = Escaped(name.as_deref().unwrap_or("the file"));
        let _ = write!(xml, "    <testcase classname=\"{file}\" name=\"{name}\"");
        let _ = match outcome {
            Outcome::Passed => writeln!(xml, "/>"),
            Outcome::Failed { differences, because } => {
                let first = differences.iter().map(|one| one.field.as_str()).collect::<Vec<_>>().join(", ");
                let (message, lines) = (format!("not as expected: {first}"), in_lines(differences, because, ""));
                closed(xml, "failure", &message, &lines)
            }
            Outcome::Error { why } => closed(xml, "error", "it could not be tested", why),
        };
    }
    xml.push_str("  </testsuite>\n");
}

fn closed(xml: &mut String, element: &str, message: &str, text: &str) -> fmt::Result {
    let (message, text) = (Escaped(message), Escaped(text));
    writeln!(xml, ">\n      <{element} message=\"{message}\">{text}</{element}>\n    </testcase>")
}

/// Text as it may stand in XML, between elements and in attributes.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\n' => f.write_str("&#10;"),
            // XML has no way at all to write these.
            c if (c.is_control() && c != '\t') || matches!(c, '\u{fffe}' | '\u{ffff}') => f.write_char('\u{fffd}'),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_wherever_it_stands() {
        let text = "a<b> & \"c\"\n\u{1b}]\u{ffff}d'";
        assert_eq!(Escaped(text).to_string(), "a&lt;b&gt; &amp; &quot;c&quot;&#10;\u{fffd}]\u{fffd}d'");
    }
}
