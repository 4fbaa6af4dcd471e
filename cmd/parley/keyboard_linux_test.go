package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestASecretIsHiddenBeforeItIsAskedFor: what is typed as soon as the prompt is there
// is not shown either.
func TestASecretIsHiddenBeforeItIsAskedFor(t *testing.T) {
	t.Parallel()
	person, program, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = person.Close(), program.Close() })
	shows := func() bool {
		mode, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return mode.Lflag&unix.ECHO != 0
	}
	keys := newKeyboard(program)
	for _, hidden := range []bool{true, false, true} {
		shown := hidden
		line, err := keys.typed(t.Context(), hidden, func() error {
			shown = shows()
			_, err := person.WriteString("hunter2\n")
			return err
		})
		if err != nil || line != "hunter2" {
			t.Fatalf("read %q, %v", line, err)
		}
		if shown == hidden {
			t.Errorf("with hidden %t the terminal shows what is typed at the prompt: %t", hidden, shown)
		}
		if !shows() {
			t.Error("the terminal still hides what is typed behind the line")
		}
	}
}
