//! Results as JUnit XML, for continuous integration.

use std::fmt::{self, Display, Write};

use super::{TestOutcome, TestReport, TestResult, format_differences};

/// Formats the report as an XML document.
pub(super) fn to_xml(report: &TestReport) -> String {
    let TestReport { passed, failed, errors, results } = report;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = passed + failed + errors;
    let _ = writeln!(xml, "<testsuites name=\"outrigger\" tests=\"{all}\" failures=\"{failed}\" errors=\"{errors}\">");
    for suite in results.chunk_by(|left, right| left.file == right.file) {
        write_suite(&mut xml, suite);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn write_suite(xml: &mut String, results: &[TestResult]) {
    let Some(TestResult { file, .. }) = results.first() else { return };
    let count = |is: fn(&TestOutcome) -> bool| results.iter().filter(|one| is(&one.outcome)).count();
    let failures = count(|outcome| matches!(outcome, TestOutcome::Failed { .. }));
    let errors = count(|outcome| matches!(outcome, TestOutcome::Error { .. }));
    let (file, tests) = (XmlText(file), results.len());
    let _ =
        writeln!(xml, "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">");
    for TestResult { name, outcome, .. } in results {
        let name = XmlText(name.as_deref().unwrap_or("the file"));
        let _ = write!(xml, "    <testcase classname=\"{file}\" name=\"{name}\"");
        let _ = match outcome {
            TestOutcome::Passed => writeln!(xml, "/>"),
            TestOutcome::Failed { differences, because } => {
                let first = differences.iter().map(|one| one.field.as_str()).collect::<Vec<_>>().join(", ");
                let (message, lines) =
                    (format!("not as expected: {first}"), format_differences(differences, because, ""));
                write_problem(xml, "failure", &message, &lines)
            }
            TestOutcome::Error { why } => write_problem(xml, "error", "the case could not be tested", why),
        };
    }
    xml.push_str("  </testsuite>\n");
}

fn write_problem(xml: &mut String, element: &str, message: &str, text: &str) -> fmt::Result {
    let (message, text) = (XmlText(message), XmlText(text));
    writeln!(xml, ">\n      <{element} message=\"{message}\">{text}</{element}>\n    </testcase>")
}

/// Text, escaped for elements and attributes of XML.
struct XmlText<'t>(&'t str);

impl Display for XmlText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\n' => f.write_str("&#10;"),
            // XML has no way to write these characters.
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
        assert_eq!(XmlText(text).to_string(), "a&lt;b&gt; &amp; &quot;c&quot;&#10;\u{fffd}]\u{fffd}d'");
    }
}
