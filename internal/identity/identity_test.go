package identity

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nats-io/nkeys"

	"github.com/parleybus/parley/internal/events"
)

const (
	conversation = "01a200e7-7190-7000-8000-c00000000000"
	another      = "01a200e7-7190-7000-8000-c00000000001"
)

// seeded is a key with a fixed seed.
func seeded(t testing.TB, n byte) *Key {
	t.Helper()
	raw := make([]byte, ed25519.SeedSize)
	raw[0] = n
	seed, err := nkeys.EncodeSeed(nkeys.PrefixByteUser, raw)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func bookOf(t testing.TB, inputs Inputs, all ...Identity) *Book {
	t.Helper()
	b, at, err := New(all, inputs)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	return b
}

func people(t testing.TB, inputs Inputs) *Book {
	return bookOf(t, inputs,
		Identity{Name: "anna", Keys: []string{seeded(t, 1).Public(), seeded(t, 2).Public()}, Groups: []string{"finance"}},
		Identity{Name: "ben", Keys: []string{seeded(t, 3).Public()}, Groups: []string{"finance"}, Tags: []string{"oncall"}})
}

func decoded(t testing.TB, line []byte) events.Event {
	t.Helper()
	l, err := events.DecodeLine(line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return l.Event
}

const verdictLine = `{"type":"Verdict","id":"0198c0de-0000-7000-8000-000000000001","verdict":"approve","from":"boss","later":[1, 2],` +
	`"calls":[{"call":"01a200e7-75d9-7724-93e4-02267f772239","digest":"bd54"}]}`

func TestASignedInputNamesItsAuthor(t *testing.T) {
	b := people(t, Inputs{})
	for n, want := range map[byte]string{1: "anna", 2: "anna", 3: "ben", 4: ""} {
		signed, err := seeded(t, n).Sign(conversation, []byte(verdictLine))
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(signed, &fields); err != nil || string(fields["later"]) != "[1, 2]" {
			t.Fatalf("the signed line is not the event and its unknown fields: %v, %s", err, signed)
		}
		if got, err := b.Verify(conversation, signed, decoded(t, signed)); got != want || err != nil {
			t.Errorf("key %d: signer %q, %v, want %q", n, got, err, want)
		}
	}
}

// TestOurEncodingSignsWhatTheEventsEncode: an event with its Signature set encodes
// to the line that was signed.
func TestOurEncodingSignsWhatTheEventsEncode(t *testing.T) {
	for _, e := range []events.Event{
		&events.UserMessage{ID: "a", Text: "<hello> \u2028", From: "x", Arrival: events.ArrivalQueue}, &events.Settings{ID: "a", System: "s"},
		&events.Verdict{ID: "a", Verdict: events.RulingReject, From: "x"}, &events.Cancel{ID: "a", From: "x"}, &events.Delete{ID: "a", From: "x"},
	} {
		line, err := events.Append(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := seeded(t, 1).Sign(conversation, line)
		if err != nil {
			t.Fatal(err)
		}
		again, err := events.Append(nil, decoded(t, signed))
		if err != nil || string(again) != string(signed) {
			t.Errorf("%s\nis encoded again as\n%s (%v)", signed, again, err)
		}
	}
}

func TestForgedSignaturesAreRefused(t *testing.T) {
	sign := func(n byte, conversation, line string) string {
		signed, err := seeded(t, n).Sign(conversation, []byte(line))
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
	good := sign(1, conversation, verdictLine)
	for name, line := range map[string]string{
		"of another conversation":            sign(1, another, verdictLine),
		"another call":                       strings.Replace(good, "02267f772239", "02267f772240", 1),
		"another digest":                     strings.Replace(good, `"bd54"`, `"bd55"`, 1),
		"another id":                         strings.Replace(good, "000000000001", "000000000002", 1),
		"another verdict":                    strings.Replace(good, "approve", "reject!", 1),
		"another type":                       strings.Replace(good, `"Verdict"`, `"Cancel"`, 1),
		"a field before the signature":       strings.Replace(good, `,"signature"`, `,"x":1,"signature"`, 1),
		"a field behind the signature":       strings.TrimSuffix(good, "}") + `,"x":1}`,
		"a space in the signature":           strings.Replace(good, `,"sig":`, `, "sig":`, 1),
		"a signature in other letters":       strings.Replace(good, `"signature"`, `"Signature"`, 1),
		"a signature in another object":      strings.Replace(good, `,"signature":`, `,"x":{"signature":1},"signature":`, 1),
		"the key of another":                 strings.Replace(good, seeded(t, 1).Public(), seeded(t, 3).Public(), 1),
		"a key that is none":                 strings.Replace(good, seeded(t, 1).Public(), strings.Repeat("U", 56), 1),
		"a key of an account":                strings.Replace(good, seeded(t, 1).Public(), account(t), 1),
		"a signature of nothing":             good[:len(good)-len(afterSig)-sigBytes] + strings.Repeat("A", sigBytes) + afterSig,
		"no signature":                       strings.TrimSuffix(verdictLine, "}") + `,"signature":{"key":"","sig":""}}`,
		"an input without an id of its own":  sign(1, conversation, `{"type":"UserMessage","text":"pay"}`),
		"an input whose id is empty":         sign(1, conversation, `{"type":"UserMessage","id":"","text":"pay"}`),
		"signed twice":                       sign(1, conversation, good)[:len(good)+20] + good[len(good)-20:],
		"the last bits of base64 are others": good[:len(good)-len(afterSig)-1] + next(good[len(good)-len(afterSig)-1]) + afterSig,
	} {
		t.Run(name, func(t *testing.T) {
			l, err := events.DecodeLine([]byte(line))
			if err != nil {
				return // answered as invalid
			}
			signer, err := people(t, Inputs{}).Verify(conversation, []byte(line), l.Event)
			refused, ok := errors.AsType[*RefusedError](err)
			if signer != "" || !ok || refused.Answer != events.AnswerBadSignature || refused.Reason == "" {
				t.Errorf("signer %q, %v: want bad_signature\n%s", signer, err, line)
			}
		})
	}
}

// next is a letter of base64 that differs in the last bit, which no byte uses.
func next(letter byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, letter)^1])
}

func account(t *testing.T) string {
	pair, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// TestAServersNonceIsNoInput: a client of NATS signs what a server sends as its
// nonce, a string of JSON. No such string is what a signature of an input covers.
func TestAServersNonceIsNoInput(t *testing.T) {
	if wanted := payload(conversation, []byte(verdictLine)); utf8.Valid(wanted) {
		t.Fatalf("a server can send this as its nonce: %q", wanted)
	}
	nonce := strings.ToValidUTF8(string(payload(conversation, []byte(verdictLine))), "\ufffd")
	sig, err := seeded(t, 1).pair.Sign([]byte(nonce))
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(verdictLine, "}") + beforeKey + seeded(t, 1).Public() + beforeSig + encoding().EncodeToString(sig) + afterSig
	if signer, err := people(t, Inputs{}).Verify(conversation, []byte(line), decoded(t, []byte(line))); err == nil {
		t.Errorf("it counts as an input of %q", signer)
	}
}

func TestSignaturesAreRequiredWhereTheRulesSaySo(t *testing.T) {
	b := people(t, Inputs{Require: RequireSigned})
	unknown, err := seeded(t, 9).Sign(conversation, []byte(verdictLine))
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]events.Answer{verdictLine: events.AnswerSignatureRequired, string(unknown): events.AnswerUnknownKey} {
		_, err := b.Verify(conversation, []byte(line), decoded(t, []byte(line)))
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Answer != want {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := people(t, Inputs{}).Verify(conversation, []byte(line), decoded(t, []byte(line))); err != nil {
			t.Errorf("where nothing is required: %v", err)
		}
		if signer, err := (*Book)(nil).Verify(conversation, []byte(line), decoded(t, []byte(line))); signer != "" || err != nil {
			t.Errorf("without identities: %q, %v", signer, err)
		}
	}
}

func TestWhatABookRefuses(t *testing.T) {
	one, two := seeded(t, 1).Public(), seeded(t, 2).Public()
	seed, err := seeded(t, 1).pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		all    []Identity
		inputs Inputs
		at     string
		want   string
	}{
		"a key of two":           {[]Identity{{Name: "a", Keys: []string{one}}, {Name: "b", Keys: []string{two, one}}}, Inputs{}, "$.identities[1]", `is also that of "a"`},
		"a name twice":           {[]Identity{{Name: "a", Keys: []string{one}}, {Name: "A", Keys: []string{two}}}, Inputs{}, "$.identities[1]", `there is "a" already`},
		"no name":                {[]Identity{{Keys: []string{one}}}, Inputs{}, "$.identities[0]", "its name has"},
		"a name like a group":    {[]Identity{{Name: "group:a", Keys: []string{one}}}, Inputs{}, "$.identities[0]", "its name has"},
		"no keys":                {[]Identity{{Name: "a"}}, Inputs{}, "$.identities[0]", "it has 0 keys"},
		"a seed":                 {[]Identity{{Name: "a", Keys: []string{string(seed)}}}, Inputs{}, "$.identities[0]", "is a seed, which is secret"},
		"a key with a mistake":   {[]Identity{{Name: "a", Keys: []string{one[:55] + "A"}}}, Inputs{}, "$.identities[0]", "is not the public nkey"},
		"a key of an account":    {[]Identity{{Name: "a", Keys: []string{account(t)}}}, Inputs{}, "$.identities[0]", "is not the public nkey"},
		"a bad group":            {[]Identity{{Name: "a", Keys: []string{one}, Groups: []string{"x y"}}}, Inputs{}, "$.identities[0]", "is not a name of a group"},
		"another requirement":    {[]Identity{{Name: "a", Keys: []string{one}}}, Inputs{Require: "yes"}, "$.inputs.require", `require is "yes"`},
		"unknown setters":        {[]Identity{{Name: "a", Keys: []string{one}}}, Inputs{Settings: []string{"group:x"}}, "$.inputs.settings", "is no identity"},
		"inputs and nobody":      {nil, Inputs{Require: RequireSigned}, "$.inputs", "there are no identities"},
		"too many identities":    {make([]Identity, maxIdentities+1), Inputs{}, "$.identities", "at most 1000"},
		"too many of one's keys": {[]Identity{{Name: "a", Keys: make([]string, maxKeys+1)}}, Inputs{}, "$.identities[0]", "it has 21 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			_, at, err := New(c.all, c.inputs)
			if err == nil || at != c.at || !strings.Contains(err.Error(), c.want) {
				t.Errorf("at %s: %v, want %q at %s", at, err, c.want, c.at)
			}
			if err != nil && strings.Contains(err.Error(), string(seed)) {
				t.Error("the error holds the seed")
			}
		})
	}
}

func TestNeedsThatNobodyCanSatisfyAreRefused(t *testing.T) {
	b := people(t, Inputs{})
	for want, n := range map[string]events.Need{
		"":                              {Approvers: []string{"group:finance"}, Approvals: 2, NotRequester: true},
		"is no identity":                {Approvers: []string{"anna", "eve"}},
		`"group:oncall" is no`:          {Approvers: []string{"group:oncall"}},
		`"role:finance" is no`:          {Approvers: []string{"role:finance"}},
		"1 identities may":              {Approvers: []string{"tag:oncall"}, Approvals: 2},
		"3 approvals are needed, and 2": {Approvals: 3},
	} {
		if err := b.CheckNeed(n); (err == nil) != (want == "") || !strings.Contains(fmt.Sprint(err), want) && want != "" {
			t.Errorf("%+v: %v, want %q", n, err, want)
		}
	}
	for _, n := range []events.Need{{Approvals: 2}, {NotRequester: true}, {Approvers: []string{"anna"}}} {
		if err := (*Book)(nil).CheckNeed(n); err == nil {
			t.Errorf("%+v is accepted without identities", n)
		}
	}
}

func FuzzVerify(f *testing.F) {
	signed, err := seeded(f, 1).Sign(conversation, []byte(verdictLine))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(verdictLine))
	f.Add([]byte(strings.TrimSuffix(verdictLine, "}") + `,"signature":{"key":"","sig":""}}`))
	b := people(f, Inputs{})
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := events.DecodeLine(line)
		if err != nil {
			return
		}
		if signer, _ := b.Verify(conversation, l.Raw, l.Event); signer != "" && string(l.Raw) != string(signed) {
			t.Fatalf("%s signed %s", signer, l.Raw)
		}
	})
}

// TestTheExampleOfTheDocs is the test vector for clients in other languages.
func TestTheExampleOfTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/people.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "signature** by a user nkey")
	_, rest, _ = strings.Cut(rest, "```json\n")
	line, rest, found := strings.Cut(rest, "\n```")
	if !found {
		t.Fatal("docs/people.md has no example of a signed input")
	}
	if signer, err := people(t, Inputs{}).Verify(conversation, []byte(line), decoded(t, []byte(line))); signer != "anna" || err != nil {
		t.Errorf("the example is signed by %q, %v", signer, err)
	}
	seed, err := seeded(t, 1).pair.Seed()
	if err != nil || !strings.Contains(rest, string(seed)) || !strings.Contains(rest, conversation) {
		t.Errorf("the docs do not say which seed and conversation it is of: %v", err)
	}
}
