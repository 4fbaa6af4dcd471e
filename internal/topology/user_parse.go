package topology

import (
	"fmt"
	"strings"
)

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
	case u.Role == LLMWorker:
		u.Scope.Names = routes
	case u.Role == ToolWorker:
		u.Scope.Names = tools
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
		u := User{Name: string(role), Role: role}
		switch role {
		case LLMWorker:
			u.Scope.Names = routes
		case ToolWorker:
			u.Scope.Names = tools
		}
		all = append(all, u)
	}
	return all
}
