package sealed

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func key(t *testing.T) *Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnAnswerReachesTheWorkerThatAsks(t *testing.T) {
	k := key(t)
	for _, answer := range []string{`{"password":"hunter2"}`, "{}", strings.Repeat("x", padding), strings.Repeat("x", MostBytes)} {
		box, err := Seal(k.Public(), []byte(answer))
		if err != nil || Check(box) != nil {
			t.Fatal(err, Check(box))
		}
		got, err := k.Open(box)
		if err != nil || string(bytes.TrimRight(got, " ")) != answer {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := key(t).Open(box); err == nil {
			t.Error("another key opens it")
		}
	}
}

func TestTheLengthOfASecretIsNotSeen(t *testing.T) {
	k := key(t)
	short, err := Seal(k.Public(), []byte(`{"pin":"1"}`))
	if err != nil {
		t.Fatal(err)
	}
	long, err := Seal(k.Public(), []byte(`{"pin":"`+strings.Repeat("1", 100)+`"}`))
	if err != nil || len(short) != len(long) {
		t.Errorf("%d and %d bytes, %v", len(short), len(long), err)
	}
}

func TestWhatIsNoSealedAnswerIsRefused(t *testing.T) {
	for _, text := range []string{"", "hunter2", "{}", "aHVudGVyMg==", strings.Repeat("A", 1<<20)} {
		if Check(text) == nil {
			t.Errorf("%.20q passes", text)
		}
		if _, err := key(t).Open(text); err == nil {
			t.Errorf("%.20q is opened", text)
		}
	}
	if _, err := Seal("AAAA", []byte("{}")); err == nil {
		t.Error("a short key seals")
	}
	if _, err := Seal(key(t).Public(), make([]byte, MostBytes+1)); err == nil {
		t.Error("an answer that is too long is sealed")
	}
}
