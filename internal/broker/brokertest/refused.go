package brokertest

// Refused returns the publishes and subscriptions that the server refused because
// a user may not do them, in the server's words.
func (a Accounts) Refused() []string { return a.refused.All() }
