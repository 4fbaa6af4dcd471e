package credential_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/topology"
)

func TestAKeyIsMadeOnceAndReadByItsOwnerOnly(t *testing.T) {
	t.Parallel()
	d := credential.Dir(filepath.Join(t.TempDir(), "keys"))
	keys := make([]string, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = d.Key("app"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(slices.Compact(slices.Clone(keys))) != 1 || !strings.HasPrefix(keys[0], "U") {
		t.Errorf("keys %v", keys)
	}
	if other, err := d.Key("viewer"); err != nil || other == keys[0] {
		t.Errorf("another user has %s, %v", other, err)
	}
	info, err := os.Stat(filepath.Join(string(d), "app.nk"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFileThatIsNoSeedIsNamed(t *testing.T) {
	t.Parallel()
	d := credential.Dir(t.TempDir())
	path := filepath.Join(string(d), "app.nk")
	if err := os.WriteFile(path, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Key("app"); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
	if _, err := d.Key("../app"); err == nil {
		t.Error("a name that is a path is accepted")
	}
}

func TestTheEnvironmentOfARole(t *testing.T) {
	t.Parallel()
	app := credential.Environment(topology.User{Name: "shop", Role: topology.App}, "tls://n1:4222", "/k/shop.nk", "/k/ca.pem")
	if want := []string{"NATS_URL=tls://n1:4222", "NATS_NKEY=/k/shop.nk", "NATS_INBOX_PREFIX=_INBOX_shop", "NATS_JS_API_PREFIX=PARLEY.API", "NATS_CA=/k/ca.pem"}; !slices.Equal(app, want) {
		t.Errorf("%v", app)
	}
	boss := credential.Environment(topology.User{Name: "boss", Role: topology.Orchestrator}, "nats://n1:4222", "/k/boss.nk", "")
	if want := []string{"NATS_URL=nats://n1:4222", "NATS_NKEY=/k/boss.nk", "NATS_INBOX_PREFIX=_INBOX_boss"}; !slices.Equal(boss, want) {
		t.Errorf("%v", boss)
	}
}

func TestTheServersOfAClusterShareOnePassword(t *testing.T) {
	t.Parallel()
	d := credential.Dir(filepath.Join(t.TempDir(), "keys"))
	one, err := d.ClusterPassword()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := d.ClusterPassword(); err != nil || two != one || len(one) < 20 {
		t.Errorf("passwords %q and %q, %v", one, two, err)
	}
	path := filepath.Join(string(d), "cluster.password")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if short, err := d.ClusterPassword(); err == nil {
		t.Errorf("%q is taken as a password", short)
	}
}
