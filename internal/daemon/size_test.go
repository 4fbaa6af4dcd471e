package daemon

import (
	"strings"
	"testing"
)

func TestSizesAreWrittenWithUnits(t *testing.T) {
	for _, c := range []struct {
		text  string
		bytes int64 // -1: refused
	}{{"20GiB", 20 << 30}, {"512mb", 512 << 20}, {"1000", 1000}, {"0", 0}, {"-1", -1}, {"much", -1}, {"", -1}} {
		var s size
		switch err := s.Set(c.text); {
		case c.bytes < 0 && err == nil:
			t.Errorf("%q is %d", c.text, s)
		case c.bytes >= 0 && (err != nil || int64(s) != c.bytes):
			t.Errorf("%q is %d, %v; want %d", c.text, s, err, c.bytes)
		}
	}
	cfg, err := Defaults(func(name string) string { return map[string]string{"PARLEY_MAX_BYTES": "2GiB"}[name] })
	if err != nil || cfg.Plan.MaxBytes != 2<<30 {
		t.Errorf("PARLEY_MAX_BYTES=2GiB is %d, %v", cfg.Plan.MaxBytes, err)
	}
	_, err = Defaults(func(name string) string { return map[string]string{"PARLEY_HISTORY_MAX_BYTES": "much"}[name] })
	if err == nil || !strings.Contains(err.Error(), `PARLEY_HISTORY_MAX_BYTES: "much" is not a size`) {
		t.Errorf("PARLEY_HISTORY_MAX_BYTES=much: %v", err)
	}
}
