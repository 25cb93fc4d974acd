//! URLs: the origin that an access token is sent to, resolution of redirections, redaction of credentials.

/// Origin of a URL: scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// The origin of an absolute URL; `None` for anything else.
    pub fn of(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let place = authority.rsplit('@').next().unwrap_or_default();
        // IPv6 addresses are in brackets.
        let port_at = place.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match place[port_at..].split_once(':') {
            Some((rest, port)) => (&place[..port_at + rest.len()], Some(port)),
            None => (place, None),
        };
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => Some(port.parse().ok()?),
            None => default,
        };
        (!host.is_empty()).then(|| Self { scheme, host: host.trim_end_matches('.').to_ascii_lowercase(), port })
    }
}

/// Resolves the `Location` of a redirection (RFC 3986, section 5.2).
pub(super) fn resolve(address: &str, location: &str) -> Option<String> {
    let location = location.trim();
    let (scheme, rest) = address.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let is_absolute = location.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    if is_absolute {
        return Some(location.to_owned());
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{authority}{folder}/{location}"))
}

/// User name and password in a URL, with or without a scheme.
pub(super) fn credentials(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.rsplit_once('@').map(|(credentials, _)| credentials).filter(|credentials| !credentials.is_empty())
}

/// The endpoint with its credentials redacted.
pub(super) fn shown(endpoint: &str) -> String {
    redacted(&credentials(endpoint).map_or_else(|| endpoint.to_owned(), |secret| endpoint.replace(secret, "***")))
}

/// Redacts credentials in the URLs of a text: user name and password before `@`, and the query, which holds the key of a signed
/// URL.
pub(super) fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        shown.push_str(before);
        let is_end = |letter: char| letter.is_whitespace() || "\"'`<>()".contains(letter);
        let end = behind.find(is_end).unwrap_or(behind.len());
        let (address, after) = behind.split_at(end);
        let (address, query) = address.split_once('?').map_or((address, false), |(address, _)| (address, true));
        // The last `@`: a password may contain an unescaped slash.
        shown.push_str(&address.rsplit_once('@').map_or(address.to_owned(), |(_, place)| format!("***@{place}")));
        if query {
            shown.push_str("?…");
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |one: &str, other: &str| Origin::of(one).is_some() && Origin::of(one) == Origin::of(other);
        assert!(same("https://hub.example/a", "https://HUB.example:443/b?c"));
        assert!(same("http://user:pass@hub:80/a", "http://hub"));
        assert!(same("http://[::1]:8080/a", "http://[::1]:8080"));
        for other in [
            "http://hub.example/a",
            "https://hub.example:8443/a",
            "https://cdn.hub.example/a",
            "https://hub.example.evil/a",
            "https://hub.example@evil/a",
            "https://evil\\@hub.example/a",
        ] {
            assert!(!same("https://hub.example/a", other), "{other}");
        }
        assert_eq!(Origin::of("/relative"), None);
        assert_eq!(Origin::of("http://hub:port/"), None);
    }

    #[test]
    fn redirections_are_resolved() {
        let from = "https://hub:1/a/b?c=d";
        assert_eq!(resolve(from, "/x?y").as_deref(), Some("https://hub:1/x?y"));
        assert_eq!(resolve(from, "x").as_deref(), Some("https://hub:1/a/x"));
        assert_eq!(resolve(from, "//cdn/x").as_deref(), Some("https://cdn/x"));
        assert_eq!(resolve(from, "http://cdn/x").as_deref(), Some("http://cdn/x"));
        assert_eq!(resolve("https://hub", "x").as_deref(), Some("https://hub/x"));
        assert_eq!(resolve(from, "/x?to=http://y").as_deref(), Some("https://hub:1/x?to=http://y"));
    }

    #[test]
    fn credentials_are_not_shown() {
        for (text, shown) in [
            ("http://user:pa@ss@hub/x cannot", "http://***@hub/x cannot"),
            ("to https://cdn/x?X-Amz-Signature=abc: refused", "to https://cdn/x?…"),
            ("(https://u:p@a/b) and \"http://t@c\"", "(https://***@a/b) and \"http://***@c\""),
            ("a@b and https://hub/x", "a@b and https://hub/x"),
        ] {
            assert!(redacted(text).starts_with(shown), "{}", redacted(text));
        }
    }
}
