package secret

import (
	"net/url"
	"strings"
)

// URL returns a URL, or a list of them with commas between, as it may be shown:
// without what is before an @ and without query and fragment, whatever characters a
// password has.
func URL(urls string) string {
	all := split(urls, true)
	for i, u := range all {
		_, rest, _ := userinfo(u)
		scheme := ""
		if before, _, found := strings.Cut(u, "://"); found {
			scheme = before + "://"
		}
		if at := strings.IndexAny(rest, "?#"); at >= 0 {
			rest = rest[:at]
		}
		all[i] = scheme + rest
	}
	return strings.Join(all, ",")
}

// Escape returns a URL, or a list of them, in which user names and passwords are
// percent-encoded, so that every character of them belongs to them. What is encoded
// already stays as it is.
func Escape(urls string) string {
	all := split(urls, false)
	for i, u := range all {
		user, rest, found := userinfo(u)
		if !found {
			continue
		}
		scheme := ""
		if before, _, found := strings.Cut(u, "://"); found {
			scheme = before + "://"
		}
		name, password, both := strings.Cut(user, ":")
		user = encoded(name)
		if both {
			user += ":" + encoded(password)
		}
		all[i] = scheme + user + "@" + rest
	}
	return strings.Join(all, ",")
}

// encoded percent-encodes a text, unless that was done.
func encoded(text string) string {
	plain, err := url.PathUnescape(text)
	if err != nil {
		plain = text
	}
	return strings.ReplaceAll(url.QueryEscape(plain), "+", "%20")
}

// split splits a list of URLs. A comma may be part of a password: a part with an @
// and without a scheme belongs to those before it, back to a scheme, if these begin
// with a user name and a password; or in any case, when hiding too much is better than
// too little.
func split(urls string, anyway bool) []string {
	var all []string
	for _, part := range strings.Split(urls, ",") {
		all = append(all, part)
		if !strings.Contains(part, "@") || strings.Contains(part, "://") {
			continue
		}
		first := len(all) - 1
		for first > 0 && !strings.Contains(all[first], "://") && !strings.Contains(all[first-1], "@") {
			first--
		}
		_, rest, _ := userinfo(all[first])
		if anyway || credentials(rest) {
			all = append(all[:first], strings.Join(all[first:], ","))
		}
	}
	return all
}

// userinfo splits a URL without its scheme at the last @.
func userinfo(u string) (user, rest string, found bool) {
	if _, after, has := strings.Cut(u, "://"); has {
		u = after
	}
	at := strings.LastIndexByte(u, '@')
	if at < 0 {
		return "", u, false
	}
	return u[:at], u[at+1:], true
}

// passwords returns the passwords and tokens in a list of URLs, as they are and as
// they are sent, and the parameters whose name says that they are secret.
func passwords(urls string) []string {
	var all []string
	for _, u := range append(split(urls, true), split(urls, false)...) {
		user, rest, found := userinfo(u)
		if _, query, has := strings.Cut(rest, "?"); has {
			values, _ := url.ParseQuery(query) // what it could read
			for name, of := range values {
				if Named(name) {
					all = append(all, of...)
				}
			}
		}
		if !found {
			continue
		}
		name, password, both := strings.Cut(user, ":")
		if !both {
			password = name // a token
		}
		all = append(all, password)
		if plain, err := url.PathUnescape(password); err == nil {
			all = append(all, plain)
		}
	}
	return all
}

// withoutPasswords returns a text in which the URLs have no user names and
// passwords.
func withoutPasswords(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "://")
		if !found {
			out.WriteString(before)
			return out.String()
		}
		out.WriteString(before + "://")
		run := rest
		if end := strings.IndexAny(rest, " \t\r\n\"'`<>"); end >= 0 {
			run = rest[:end]
		}
		if next := strings.Index(run, "://"); next >= 0 { // a list
			run = run[:strings.LastIndexByte(run[:next], ',')+1]
		}
		if at := strings.LastIndexByte(run, '@'); at >= 0 && credentials(run) {
			out.WriteString(Marker + "@")
			rest = rest[at+1:]
		}
		text = rest
	}
}

// credentials reports whether a URL, without its scheme, begins with a user name or
// a password: its host would end in an @, or in a port that is no number.
func credentials(run string) bool {
	host := run
	if end := strings.IndexAny(run, "/?#"); end >= 0 {
		host = run[:end]
	}
	if strings.Contains(host, "@") {
		return true
	}
	_, port, found := strings.Cut(host, ":")
	return found && !strings.HasPrefix(run, "[") && strings.Trim(port, "0123456789") != ""
}
