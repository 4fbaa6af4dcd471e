package terminal

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write what is shown into the golden files")
	flag.Parse()
	os.Exit(m.Run())
}
