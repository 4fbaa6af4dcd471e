package topology

import (
	"fmt"
	"slices"
	"strings"
)

// Accounts of a deployment that belong to no single user.
const (
	// AccountStreams holds the streams, the orchestrators and the administrator.
	AccountStreams = "PARLEY"
	// AccountSystem is the server's own; its user reads the server's statistics.
	AccountSystem = "SYS"
)

// User is a user of the server. Users with a role other than orchestrator or
// admin have an account of their own: whatever reply subject one of them names,
// the server publishes there within that account.
type User struct {
	Name string // also of its account, in upper case; letters, digits, _ and -
	Role Role
	NKey string // public key, "U…"
	// Password is used in place of a key: as it is, or as bcrypt's hash of it.
	Password string
	Scope    Scope
	// Tenant is the deployment that the user belongs to, on a server that several
	// share; empty for a server of its own.
	Tenant string
}

// Account returns the name of the user's account.
func (u User) Account() string {
	if u.HasStreams() {
		return streamsAccount(u.Tenant)
	}
	return tenantPrefix(u.Tenant) + strings.ToUpper(u.Name)
}

// HasStreams reports whether the user's account is the one that holds the streams.
func (u User) HasStreams() bool { return u.Role == Orchestrator || u.Role == Admin }

// streamsAccount returns the account that holds the streams of a tenant.
func streamsAccount(tenant string) string { return tenantPrefix(tenant) + AccountStreams }

func tenantPrefix(tenant string) string {
	if tenant == "" {
		return ""
	}
	return strings.ToUpper(tenant) + "_"
}

// Inbox returns the prefix of the user's reply subjects. With the default prefix
// every user of an account could read all replies.
func (u User) Inbox() string { return "_INBOX_" + u.Name }

// Permissions returns the subjects that the user may publish and subscribe to in
// its account, in sorted order. An empty list allows nothing. A user that answers
// requests may publish to their reply subjects besides.
func (u User) Permissions(plan Plan) (publish, subscribe []string) {
	inbox := u.Inbox() + ".>"
	switch u.Role {
	case Admin:
		return []string{">"}, []string{">"}
	case Orchestrator:
		subscribe = []string{AllReads, AllQueues, inbox}
		for _, template := range waking() {
			subscribe = append(subscribe, pattern(template))
		}
		return plan.orchestrating(), subscribe
	}
	for _, g := range Grants(u.Role, plan, u.Scope) {
		if g.Kind == Request {
			publish = append(publish, g.Local())
		} else {
			subscribe = append(subscribe, g.Local())
		}
	}
	if !known(u.Role) {
		return nil, nil
	}
	slices.Sort(publish)
	subscribe = append(subscribe, inbox)
	slices.Sort(subscribe)
	return slices.Compact(publish), slices.Compact(subscribe)
}

// CheckTenant returns an error when a tenant's name is not of lower-case letters,
// digits and -. Account names are in upper case and have the tenant before the
// first _, so the accounts of two tenants never have the same name: nats-server
// merges two accounts of one name without an error. The empty name is that of the
// deployment of a server that is not shared.
func CheckTenant(name string) error {
	if len(name) > 64 {
		return fmt.Errorf("tenant %q: the name of a tenant has at most 64 characters", clip(name))
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("tenant %q: the name of a tenant has lower-case letters, digits and -", clip(name))
		}
	}
	return nil
}

// Roles returns all roles.
func Roles() []Role {
	return []Role{Viewer, App, Caller, LLMWorker, ToolWorker, Orchestrator, Admin}
}

func known(role Role) bool { return slices.Contains(Roles(), role) }

// CheckUsers returns an error when users cannot be those of one server.
func CheckUsers(users []User) error {
	accounts := map[string]User{}
	names := map[string]bool{}
	hooks := map[string]string{}
	for _, u := range users {
		if err := CheckToken("user", u.Name); err != nil {
			return err
		}
		if !known(u.Role) {
			return fmt.Errorf("user %s: there is no role %q, give one of %s", u.Name, u.Role, roleNames())
		}
		if err := u.Scope.Check(); err != nil {
			return fmt.Errorf("user %s: %w", u.Name, err)
		}
		if (u.NKey == "") == (u.Password == "") {
			return fmt.Errorf("user %s needs either a key or a password", u.Name)
		}
		if names[u.Name] {
			return fmt.Errorf("user %s is given twice", u.Name)
		}
		names[u.Name] = true
		account := u.Account()
		own := !u.HasStreams()
		if own && (account == streamsAccount(u.Tenant) || account == AccountSystem) {
			return fmt.Errorf("user %s: account %s is the server's, give another name", u.Name, account)
		}
		if other, taken := accounts[account]; own && taken {
			return fmt.Errorf("users %s and %s would share account %s, give another name", other.Name, u.Name, account)
		}
		accounts[account] = u
		for _, g := range Grants(u.Role, Plan{}, u.Scope) {
			if g.Kind != Answer {
				continue
			}
			for subject, other := range hooks {
				if subject == g.Subject || strings.HasSuffix(subject, ".*") || strings.HasSuffix(g.Subject, ".*") {
					return fmt.Errorf("users %s and %s both answer hooks: give each its own, as in app:%s=tone and app:%s=guard, since an app without names answers all", other, u.Name, other, u.Name)
				}
			}
			hooks[g.Subject] = u.Name
		}
	}
	return nil
}

func roleNames() string {
	var all []string
	for _, r := range Roles() {
		all = append(all, string(r))
	}
	return strings.Join(all, ", ")
}

// ParseUser parses ROLE[:NAME][=SCOPE,…], such as "tool-worker:payments=charge,refund"
// or "app:shop". The name is the role's by default. The scope of a worker names
// its routes or tools; "*" lets it take the jobs of every queue. Without a scope a
// worker gets routes or tools.
func ParseUser(text string, routes, tools []string) (User, error) {
	who, scope, scoped := strings.Cut(text, "=")
	role, name, named := strings.Cut(who, ":")
	u := User{Name: name, Role: Role(role)}
	if !named {
		u.Name = role
	}
	switch {
	case scope == "*" && (u.Role == LLMWorker || u.Role == ToolWorker):
	case scoped:
		u.Scope.Names = strings.Split(scope, ",")
	default:
		u.Scope.Names = usual(u.Role, routes, tools)
	}
	if scoped && u.Role != LLMWorker && u.Role != ToolWorker && u.Role != App {
		return u, fmt.Errorf("user %q: role %s takes no routes, tools or hooks", text, u.Role)
	}
	if !known(u.Role) {
		return u, fmt.Errorf("user %q: there is no role %q, give one of %s", text, role, roleNames())
	}
	if err := CheckToken("user", u.Name); err != nil {
		return u, err
	}
	return u, u.Scope.Check()
}

// DefaultUsers returns a user for each role, named like it, for workers of these
// routes and tools.
func DefaultUsers(routes, tools []string) []User {
	var all []User
	for _, role := range Roles() {
		all = append(all, User{Name: string(role), Role: role, Scope: Scope{Names: usual(role, routes, tools)}})
	}
	return all
}

// usual returns what a user of a role serves when nothing else is given.
func usual(role Role, routes, tools []string) []string {
	switch role {
	case LLMWorker:
		return routes
	case ToolWorker:
		return tools
	}
	return nil
}
