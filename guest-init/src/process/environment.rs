//! The environment of a process: as given, with what every process is expected to have.

/// Where programs are looked for if the environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `given` with a HOME, unless it names one that is not empty.
pub fn complete(given: &[String], home: &str) -> Vec<String> {
    let mut environment = given.to_vec();
    if value(given, "HOME").is_none_or(str::is_empty) {
        environment.retain(|variable| !variable.starts_with("HOME="));
        environment.push(format!("HOME={home}"));
    }
    environment
}

/// Where the process's program is looked for.
pub fn search_path(environment: &[String]) -> &str {
    value(environment, "PATH").unwrap_or(DEFAULT_PATH)
}

/// The value of the variable called `name`: the first, as C's `getenv` finds it.
fn value<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(variables: &[&str]) -> Vec<String> {
        variables.iter().map(|&variable| variable.to_owned()).collect()
    }

    #[test]
    fn home_is_added_when_it_is_missing() {
        assert_eq!(complete(&list(&["A=1"]), "/root"), list(&["A=1", "HOME=/root"]));
    }

    #[test]
    fn a_given_home_stays() {
        assert_eq!(complete(&list(&["HOME=/x", "A=1"]), "/root"), list(&["HOME=/x", "A=1"]));
    }

    #[test]
    fn an_empty_home_counts_as_missing() {
        assert_eq!(complete(&list(&["HOME=", "HOMER=odyssey"]), "/"), list(&["HOMER=odyssey", "HOME=/"]));
    }

    #[test]
    fn the_search_path_is_the_processs_own() {
        assert_eq!(search_path(&list(&["PATHS=no", "PATH=/a:/b", "PATH=/c"])), "/a:/b");
        assert_eq!(search_path(&[]), DEFAULT_PATH);
        assert_eq!(search_path(&list(&["PATH="])), "");
    }
}
