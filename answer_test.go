package parley

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/sealed"
)

func TestAnAnswerWithASecretIsSealed(t *testing.T) {
	t.Parallel()
	key, err := sealed.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	question := Awaited{For: WaitAnswer, Call: "c", Digest: "d", Arguments: json.RawMessage(`{"message":"m","schema":{},"secret":["p"],"key":"` + key.Public() + `"}`)}
	v, err := AnswerTo(question, `{"p":"hunter2"}`)
	if err != nil || v.Call != "c" || v.Digest != "d" || v.Content != "" {
		t.Fatalf("%+v, %v", v, err)
	}
	if got, err := key.Open(v.Sealed); err != nil || string(bytes.TrimSpace(got)) != `{"p":"hunter2"}` {
		t.Errorf("the worker reads %q, %v", got, err)
	}
	for _, broken := range []string{"hunter2", `{"p":"hunter2"`, `["hunter2"]`} {
		if v, err := AnswerTo(question, broken); CodeOf(err) != CodeInvalid || strings.Contains(err.Error(), "hunter2") || v.Content != "" {
			t.Errorf("%s: %+v, %v", broken, v, err)
		}
	}
	question.Arguments = json.RawMessage(`{"message":"m","key":"AAAA"}`)
	if v, err := AnswerTo(question, `{"p":"hunter2"}`); CodeOf(err) != CodeInvalid || v.Content != "" {
		t.Errorf("with a broken key: %+v, %v", v, err)
	}
	for _, open := range []Awaited{
		{For: WaitAnswer, Call: "c", Arguments: json.RawMessage(`{"message":"m"}`)},
		{For: WaitApproval, Call: "c", Arguments: json.RawMessage(`{"key":"` + key.Public() + `"}`)},
	} {
		if v, err := AnswerTo(open, "Half past nine."); err != nil || v.Content != "Half past nine." || v.Sealed != "" {
			t.Errorf("%s: %+v, %v", open.Arguments, v, err)
		}
	}
}
