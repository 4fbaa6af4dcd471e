package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
)

// TestAForgedNameApprovesWhereNothingIsSigned shows what a name that an app gives is
// worth: anybody writes it.
func TestAForgedNameApprovesWhereNothingIsSigned(t *testing.T) {
	for _, identities := range []*identity.Book{nil, bookOf(identity.Inputs{}, people()...)} {
		s, call := approval(t, events.Need{})
		s.env.Identities = identities
		v := s.ruling(events.RulingApprove, call)
		v.From = "boss"
		es := s.in(v)
		if !ran(es, call) || answerTo(t, es).Signer != "" {
			t.Errorf("%s", written(es))
		}
	}
	s, call := approval(t, events.Need{Approvers: []string{"boss"}})
	v := s.ruling(events.RulingApprove, call)
	v.From = "boss"
	if es := s.in(v); ran(es, call) {
		t.Errorf("a name that an app gave approves: %s", written(es))
	}
}

// TestSignaturesThatWereCopiedApproveNothing: of another conversation, of another
// call, and with other arguments.
func TestSignaturesThatWereCopiedApproveNothing(t *testing.T) {
	for name, forge := range map[string]func(s *scene, v *events.Verdict) events.Line{
		"to another conversation": func(s *scene, v *events.Verdict) events.Line {
			return signedLine(bossKey, "00000000-0000-7000-8000-c00000000001", v)
		},
		"to another call": func(s *scene, v *events.Verdict) events.Line {
			right := v.Calls[0].Call
			v.Calls[0].Call = "00000000-0000-7000-8000-00000000abcd"
			l := signedLine(bossKey, s.conversationLog.id, v)
			return replaced(l, v.Calls[0].Call, right)
		},
		"with other arguments": func(s *scene, v *events.Verdict) events.Line {
			right := v.Calls[0].Digest
			v.Calls[0].Digest = events.Digest(`{"amount":1}`)
			return replaced(signedLine(bossKey, s.conversationLog.id, v), v.Calls[0].Digest, right)
		},
		"to another id": func(s *scene, v *events.Verdict) events.Line {
			return replaced(signedLine(bossKey, s.conversationLog.id, v), v.ID, s.id())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, call := approval(t, events.Need{Approvers: []string{"boss"}})
			before := looks(s.state)
			es := s.line(forge(s, s.ruling(events.RulingApprove, call)))
			if a := answerTo(t, es); a.Answer != events.AnswerBadSignature || a.Signer != "" || a.Reason == "" {
				t.Errorf("the answer is %+v", a)
			}
			if looks(s.state) != before || len(es) != 1 {
				t.Errorf("something happened: %s", written(es))
			}
		})
	}
}

func replaced(l events.Line, old, by string) events.Line {
	line, err := events.DecodeLine([]byte(strings.Replace(string(l.Raw), old, by, 1)))
	if err != nil {
		panic(err)
	}
	return line
}

// TestADeploymentThatRequiresSignatures takes nothing else, and answers it.
func TestADeploymentThatRequiresSignatures(t *testing.T) {
	s := newScene(t)
	s.env.Identities = bookOf(identity.Inputs{Require: identity.RequireSigned}, people()...)
	for key, want := range map[byte]events.Answer{0: events.AnswerSignatureRequired, workersKey: events.AnswerUnknownKey} {
		for _, e := range []events.Event{
			&events.UserMessage{ID: s.id(), Text: "pay", From: "boss"}, &events.Settings{ID: s.id(), System: "pay"}, &events.Cancel{ID: s.id()},
			&events.Delete{ID: s.id()}, &events.Verdict{ID: s.id(), Verdict: events.RulingRevoke},
		} {
			es := s.signed(key, e)
			if a := answerTo(t, es); a.Answer != want || len(es) != 1 || a.Reason == "" {
				t.Errorf("%s with key %d: %s", e.Type(), key, written(es))
			}
		}
	}
	if s.state.Turns != 0 || s.state.Gone() || s.state.Transcript.Settings.System != "" {
		t.Errorf("something was done: %s", looks(s.state))
	}
	if es := s.sayAs(annasKey, "pay"); answerTo(t, es).Signer != "anna" || s.state.Turn == "" {
		t.Errorf("anna: %s", written(es))
	}
}

// TestWhoMaySetWhatSettingsAllow: fields by which calls could run that would not run
// now are for those that the rules name, however a field is spelled.
func TestWhoMaySetWhatSettingsAllow(t *testing.T) {
	for settings, free := range map[string]bool{
		`"system":"be brief"`:             true,
		`"route":"scripted/b"`:            true,
		`"priority":"low"`:                true,
		`"policy":{"rules":[]}`:           false,
		`"POLICY":null`:                   false,
		`"add_rules":[{"action":"auto"}]`: false,
		`"limits":{"steps":1000}`:         false,
		`"hooks":null`:                    false,
		`"tools":["*"]`:                   false,
		`"later":true`:                    false,
	} {
		for _, key := range []byte{0, annasKey, bossKey} {
			t.Run(fmt.Sprintf("%s by %d", settings, key), func(t *testing.T) {
				s := newScene(t)
				s.env.Identities = bookOf(identity.Inputs{Settings: []string{"tag:oncall"}}, people()...)
				raw := fmt.Appendf(nil, `{"type":"Settings","id":%q,%s}`, s.id(), settings)
				if key != 0 {
					var err error
					if raw, err = keyOf(key).Sign(s.conversationLog.id, raw); err != nil {
						t.Fatal(err)
					}
				}
				line, err := events.DecodeLine(raw)
				if err != nil {
					t.Fatal(err)
				}
				a := answerTo(t, s.line(line))
				changed := s.state.Transcript.Settings.ID != ""
				want := events.AnswerAccepted
				if !free && key != bossKey {
					want = events.AnswerNotAllowed
				}
				if a.Answer != want || want == events.AnswerNotAllowed && (!strings.Contains(a.Reason, "only somebody of tag oncall may change") || changed) {
					t.Errorf("%+v, want %s", a, want)
				}
			})
		}
	}
}

func TestSettingsThatNobodyCanSatisfyAreInvalid(t *testing.T) {
	rules := []events.Rule{{Tool: "g", Action: events.ActionApprove, Need: events.Need{Approvers: []string{"group:nobody"}}}}
	for says, book := range map[string]*identity.Book{"rule 1: approvers, approvals and not_requester need identities": nil, `"group:nobody" is no identity`: bookOf(identity.Inputs{}, people()...)} {
		s := newScene(t)
		s.env.Identities = book
		if a := answerTo(t, s.in(&events.Settings{ID: s.id(), AddRules: rules})); a.Answer != events.AnswerInvalid || !strings.Contains(a.Reason, says) {
			t.Errorf("%+v, want %q", a, says)
		}
	}
}

// TestTheReceiptNamesWhoDeleted, and so do grants who gave them.
func TestTheReceiptNamesWhoDeleted(t *testing.T) {
	s, call := approval(t, events.Need{})
	es := s.signed(annasKey, s.ruling(events.RulingAlways, call))
	if g := answerTo(t, es).Granted; len(g) != 1 || g[0].Signer != "anna" {
		t.Errorf("the grant is %+v", g)
	}
	s.restart()
	s.signed(annasKey, &events.Delete{ID: s.id()})
	s.now = s.now.Add(time.Second)
	s.env.Purged = &events.ConversationDeleted{Messages: 3}
	s.decide()
	if d := s.state.Deleted; d == nil || !slices.Equal(d.Signers, []string{"anna"}) {
		t.Errorf("the receipt is %+v", d)
	}
}
