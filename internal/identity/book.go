package identity

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/parleybus/parley/internal/events"
)

// Identity is a person or an app that signs inputs.
type Identity struct {
	Name   string   `yaml:"name"`
	Keys   []string `yaml:"keys"` // public user nkeys
	Groups []string `yaml:"groups"`
	Tags   []string `yaml:"tags"`
}

// RequireSigned refuses inputs without a valid signature of an identity.
const RequireSigned = "signed"

// Inputs is what a deployment requires of inputs.
type Inputs struct {
	Require  string   `yaml:"require"`  // signed, or empty
	Settings []string `yaml:"settings"` // who may change what settings allow; empty: anybody
}

// Book has the identities of a deployment. A nil Book has none: nothing is
// verified, and nobody is known. It never changes.
type Book struct {
	keys   map[string]string // names by public key
	names  map[string]Identity
	inputs Inputs
}

// The bounds of a book.
const (
	maxIdentities = 1_000
	maxKeys       = 20 // of an identity
	maxOf         = 100
)

// name matches names of identities, groups and tags. Without a colon: a need
// writes group:NAME.
const name = `^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`

// New returns the book of a deployment, or nil when it has no identities. An error
// comes with the place of what is wrong, as a YAML path below the rules file.
func New(all []Identity, inputs Inputs) (book *Book, at string, err error) {
	if len(all) == 0 {
		if inputs.Require != "" || len(inputs.Settings) > 0 {
			return nil, "$.inputs", errors.New("inputs: there are no identities: list who may sign under identities")
		}
		return nil, "", nil
	}
	if len(all) > maxIdentities {
		return nil, "$.identities", fmt.Errorf("there are %d identities, at most %d are allowed", len(all), maxIdentities)
	}
	b := &Book{keys: map[string]string{}, names: map[string]Identity{}, inputs: inputs}
	known := map[string]string{} // by lower case
	for i, one := range all {
		if err := b.add(one, known); err != nil {
			return nil, fmt.Sprintf("$.identities[%d]", i), fmt.Errorf("identity %q: %w", one.Name, err)
		}
	}
	if inputs.Require != "" && inputs.Require != RequireSigned {
		return nil, "$.inputs.require", fmt.Errorf("inputs: require is %q: give signed, or leave it out", inputs.Require)
	}
	if err := b.CheckNeed(events.Need{Approvers: inputs.Settings}); err != nil {
		return nil, "$.inputs.settings", fmt.Errorf("inputs: settings: %w", err)
	}
	return b, "", nil
}

func (b *Book) add(one Identity, known map[string]string) error {
	valid := regexp.MustCompile(name)
	lower := strings.ToLower(one.Name)
	switch {
	case !valid.MatchString(one.Name):
		return errors.New("its name has 1 to 64 letters, digits, . _ @ + or -, and begins with a letter or digit")
	case known[lower] != "":
		return fmt.Errorf("there is %q already: give one identity all its keys", known[lower])
	case len(one.Keys) == 0 || len(one.Keys) > maxKeys:
		return fmt.Errorf("it has %d keys: give 1 to %d public nkeys", len(one.Keys), maxKeys)
	}
	known[lower] = one.Name
	for _, key := range one.Keys {
		switch {
		case strings.HasPrefix(key, "S"):
			return errors.New("one of its keys is a seed, which is secret: give the public key, which begins with U, and make a new seed")
		case len(key) != keyBytes || !nkeys.IsValidPublicUserKey(key):
			return fmt.Errorf("%.60q is not the public nkey of a user: it has 56 characters and begins with U", key)
		case b.keys[key] != "":
			return fmt.Errorf("key %s is also that of %q: a key belongs to one identity", key, b.keys[key])
		}
		b.keys[key] = one.Name
	}
	for _, group := range slices.Concat(one.Groups, one.Tags) {
		if !valid.MatchString(group) {
			return fmt.Errorf("%.80q is not a name of a group or tag: give 1 to 64 letters, digits, . _ @ + or -", group)
		}
	}
	b.names[one.Name] = one
	return nil
}

// RefusedError is why an input is not taken.
type RefusedError struct {
	Answer events.Answer
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// Verify returns the name of the identity that signed an input, given as its
// line: empty for an input that is not signed, or by a key of no identity. The
// error is a [RefusedError] for a signature that is not valid, and where signatures
// are required for an input without one by an identity.
func (b *Book) Verify(conversation string, line []byte, e events.Event) (signer string, err error) {
	if b == nil {
		return "", nil
	}
	id, claimed := events.SignatureOf(e)
	if claimed == nil {
		if b.inputs.Require == RequireSigned {
			return "", &RefusedError{events.AnswerSignatureRequired, "this deployment takes signed inputs only: sign it with the nkey of an identity, under another id"}
		}
		return "", nil
	}
	signed, s, found := split(line)
	switch {
	case !found:
		err = errors.New(`it is not the last field of the line, as ,"signature":{"key":"U…","sig":"…"}}`)
	case id == "":
		err = errors.New("the input has no id of its own, so that it could be delivered again under another")
	default:
		err = check(conversation, signed, s)
	}
	if err != nil {
		return "", &RefusedError{events.AnswerBadSignature, "the signature is not valid: " + err.Error()}
	}
	if signer = b.keys[s.Key]; signer == "" && b.inputs.Require == RequireSigned {
		return "", &RefusedError{events.AnswerUnknownKey, fmt.Sprintf("no identity of this deployment has the key %s: add it to identities in the rules file, then send the input again under another id", s.Key)}
	}
	return signer, nil
}

// CheckNeed reports why a need can never be satisfied.
func (b *Book) CheckNeed(n events.Need) error {
	if n.Anybody() {
		return nil
	}
	if b == nil {
		return errors.New("approvers, approvals and not_requester need identities, which the deployment's rules file does not have")
	}
	for _, a := range n.Approvers {
		if !slices.ContainsFunc(b.all(), func(i Identity) bool { return i.is(a) }) {
			return fmt.Errorf("%.80q is no identity, and no group:NAME or tag:NAME of one", a)
		}
	}
	may := 0
	for one := range b.names {
		if b.May(one, n) {
			may++
		}
	}
	if may < n.Count() {
		return fmt.Errorf("%d approvals are needed, and %d identities may approve", n.Count(), may)
	}
	return nil
}

// CheckPolicy reports why a policy asks for people who do not exist; at is the
// place in it, as a YAML path. p may be nil.
func (b *Book) CheckPolicy(p *events.Policy) (at string, err error) {
	if p == nil {
		return "", nil
	}
	for i, r := range p.Rules {
		if err := b.CheckNeed(r.Need); err != nil {
			return fmt.Sprintf(".rules[%d]", i), fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return "", nil
}

// May reports whether an identity is one of a need's approvers. Whether it
// requested what it approves is for the caller to say.
func (b *Book) May(signer string, n events.Need) bool {
	if b == nil || signer == "" {
		return false
	}
	one, known := b.names[signer]
	return known && (len(n.Approvers) == 0 || slices.ContainsFunc(n.Approvers, one.is))
}

// MaySet reports whether an identity may change what settings allow.
func (b *Book) MaySet(signer string) bool {
	return b == nil || len(b.inputs.Settings) == 0 || b.May(signer, events.Need{Approvers: b.inputs.Settings})
}

// WhoSets describes those who may change what settings allow.
func (b *Book) WhoSets() string { return (&events.Need{Approvers: b.inputs.Settings}).Who() }

// is reports whether an approver of a need means this identity.
func (i Identity) is(approver string) bool {
	kind, of, found := strings.Cut(approver, ":")
	switch {
	case !found:
		return approver == i.Name
	case kind == "group":
		return slices.Contains(i.Groups, of)
	case kind == "tag":
		return slices.Contains(i.Tags, of)
	}
	return false
}

func (b *Book) all() []Identity {
	all := make([]Identity, 0, len(b.names))
	for _, one := range b.names {
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y Identity) int { return cmp.Compare(x.Name, y.Name) })
	return all
}
