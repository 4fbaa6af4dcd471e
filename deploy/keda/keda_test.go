// Package keda_test lints the manifests with which KEDA scales workers, and sends
// a server KEDA's requests.
package keda_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/topology"
)

// scaledObject holds the fields of keda.sh/v1alpha1 that the manifests use, see
// https://keda.sh/docs/latest/reference/scaledobject-spec/. Other fields are
// refused.
type scaledObject struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Target          struct{ Name string } `yaml:"scaleTargetRef"`
		PollingInterval int                   `yaml:"pollingInterval"`
		Min             int                   `yaml:"minReplicaCount"`
		Max             int                   `yaml:"maxReplicaCount"`
		Fallback        struct {
			FailureThreshold int `yaml:"failureThreshold"`
			Replicas         int
			Behavior         string
		}
		Advanced struct {
			HPA struct {
				Behavior struct {
					ScaleDown struct {
						Window int `yaml:"stabilizationWindowSeconds"`
					} `yaml:"scaleDown"`
				}
			} `yaml:"horizontalPodAutoscalerConfig"`
		}
		Triggers []struct {
			Type     string
			Metadata map[string]any
		}
	}
}

// deployment holds the fields of apps/v1 that the lint checks.
type deployment struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Replicas *int
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []container
				Volumes    []struct {
					Name   string
					Secret struct {
						SecretName string `yaml:"secretName"`
					}
				}
			}
		}
	}
}

type container struct {
	Name, Image string
	Command     []string
	Env         []struct {
		Name, Value string
		ValueFrom   any `yaml:"valueFrom"`
	}
	Ports []struct {
		Name string
		Port int `yaml:"containerPort"`
	}
	Mounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
	Liveness  probe `yaml:"livenessProbe"`
	Readiness probe `yaml:"readinessProbe"`
}

type probe struct {
	HTTP struct{ Path, Port string } `yaml:"httpGet"`
}

func (c container) env(name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// manifest is one file: a Deployment and its ScaledObject.
type manifest struct {
	deployment
	scaled scaledObject
}

// manifests reads every file, and refuses documents of another kind.
func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	all := map[string]manifest{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := syntax(raw); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		docs := strings.Split(string(raw), "\n---\n")
		if len(docs) != 2 {
			t.Fatalf("%s has %d documents, want a Deployment and a ScaledObject", file, len(docs))
		}
		var m manifest
		if err := yaml.Unmarshal([]byte(docs[0]), &m.deployment); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := yaml.UnmarshalWithOptions([]byte(docs[1]), &m.scaled, yaml.DisallowUnknownField()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(file, ".yaml")] = m
	}
	return all
}

// syntax reads all documents of a file, whatever they are.
func syntax(raw []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var document any
		if err := d.Decode(&document); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestTriggersAreAsKEDAWantsThem(t *testing.T) {
	required := []string{"natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold"}
	optional := []string{"activationLagThreshold", "useHttps"}
	for name, m := range manifests(t) {
		t.Run(name, func(t *testing.T) {
			s := m.scaled
			if s.APIVersion != "keda.sh/v1alpha1" || s.Kind != "ScaledObject" || s.Metadata.Name == "" || len(s.Spec.Triggers) == 0 {
				t.Fatalf("it is no ScaledObject: %+v", s)
			}
			for _, trigger := range s.Spec.Triggers {
				if trigger.Type != "nats-jetstream" {
					t.Errorf("trigger %q", trigger.Type)
				}
				for _, key := range required {
					if text, ok := trigger.Metadata[key].(string); !ok || text == "" {
						t.Errorf("%s is %v, want a string", key, trigger.Metadata[key])
					}
				}
				for key, value := range trigger.Metadata {
					if _, text := value.(string); !text || !slices.Contains(append(required, optional...), key) {
						t.Errorf("%s: %v (%T): KEDA knows no such field, or wants a string", key, value, value)
					}
				}
				if n, err := strconv.Atoi(trigger.Metadata["lagThreshold"].(string)); err != nil || n < 1 {
					t.Errorf("lagThreshold %v is no number above 0", trigger.Metadata["lagThreshold"])
				}
				if trigger.Metadata["stream"] != topology.StreamJobs || !isQueue(trigger.Metadata["consumer"].(string)) {
					t.Errorf("%v on %v is none of Parley's queues", trigger.Metadata["consumer"], trigger.Metadata["stream"])
				}
			}
		})
	}
}

// isQueue reports whether a consumer is that of a tool or a route.
func isQueue(consumer string) bool {
	kind, of, _ := strings.Cut(consumer, "_")
	queue, err := topology.ToolQueue(of)
	if kind == "llm" {
		queue, err = topology.LLMQueue(of)
	}
	return err == nil && queue.Consumer == consumer
}

func TestWhatIsScaledIsDeployed(t *testing.T) {
	for name, m := range manifests(t) {
		t.Run(name, func(t *testing.T) {
			d, s := m.deployment, m.scaled.Spec
			if d.APIVersion != "apps/v1" || d.Kind != "Deployment" || d.Metadata.Name != name || s.Target.Name != d.Metadata.Name {
				t.Errorf("%s %s is scaled as %s", d.Kind, d.Metadata.Name, s.Target.Name)
			}
			if d.Spec.Replicas != nil {
				t.Error("the Deployment has replicas: applying it takes back what KEDA set")
			}
			for key, value := range d.Spec.Selector.MatchLabels {
				if d.Spec.Template.Metadata.Labels[key] != value {
					t.Errorf("the pods do not have the label %s", key)
				}
			}
			if s.Min < 1 || s.Max <= s.Min || s.PollingInterval < 1 {
				t.Errorf("from %d to %d replicas, asked every %d s: with none nobody announces the tool", s.Min, s.Max, s.PollingInterval)
			}
			if s.Fallback.FailureThreshold < 1 || s.Fallback.Replicas < s.Min || s.Fallback.Behavior != "currentReplicasIfHigher" || s.Advanced.HPA.Behavior.ScaleDown.Window < 1 {
				t.Errorf("the fallback is %+v, scaling down %+v", s.Fallback, s.Advanced)
			}
		})
	}
}

func TestContainersAreAsTheProgramsWantThem(t *testing.T) {
	docker, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range manifests(t) {
		t.Run(name, func(t *testing.T) {
			pod := m.deployment.Spec.Template.Spec
			if len(pod.Containers) != 1 {
				t.Fatalf("%d containers", len(pod.Containers))
			}
			c := pod.Containers[0]
			if len(c.Command) != 1 || path.Base(c.Command[0]) != name || !strings.Contains(string(docker), "/out/"+name) {
				t.Errorf("it runs %v, which the image does not have", c.Command)
			}
			drain, err := time.ParseDuration(c.env("PARLEY_DRAIN"))
			if err != nil || time.Duration(pod.Grace)*time.Second <= drain {
				t.Errorf("it is killed after %d s, and may drain for %q", pod.Grace, c.env("PARLEY_DRAIN"))
			}
			if len(c.Ports) != 1 || c.env("PARLEY_HTTP") != ":"+strconv.Itoa(c.Ports[0].Port) ||
				c.Liveness.HTTP.Path != "/healthz" || c.Readiness.HTTP.Path != "/readyz" ||
				c.Liveness.HTTP.Port != c.Ports[0].Name || c.Readiness.HTTP.Port != c.Ports[0].Name {
				t.Errorf("health is served on %q, asked on %+v", c.env("PARLEY_HTTP"), c.Ports)
			}
			slots, err := strconv.Atoi(c.env("PARLEY_SLOTS"))
			if err != nil {
				t.Fatal(err)
			}
			for _, trigger := range m.scaled.Spec.Triggers {
				if n, _ := strconv.Atoi(trigger.Metadata["lagThreshold"].(string)); n > slots {
					t.Errorf("with %d jobs for each replica of %d slots some wait for ever and nothing grows", n, slots)
				}
			}
		})
	}
}

// TestWorkersHaveTheKeyOfTheirRole: the variables that parley permissions writes, and
// a secret with the key of that user alone.
func TestWorkersHaveTheKeyOfTheirRole(t *testing.T) {
	for name, m := range manifests(t) {
		t.Run(name, func(t *testing.T) {
			pod := m.deployment.Spec.Template.Spec
			c := pod.Containers[0]
			u, err := topology.ParseUser(name, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range credential.Environment(u, c.env("NATS_URL"), "/key/"+name+".nk", "") {
				if key, value, _ := strings.Cut(v, "="); c.env(key) != value {
					t.Errorf("%s is %q, want %q", key, c.env(key), value)
				}
			}
			if len(c.Mounts) != 1 || c.Mounts[0].MountPath != "/key" || !c.Mounts[0].ReadOnly || len(pod.Volumes) != 1 || pod.Volumes[0].Name != c.Mounts[0].Name || pod.Volumes[0].Secret.SecretName != "key-"+name {
				t.Errorf("it mounts %+v from %+v", c.Mounts, pod.Volumes)
			}
			for _, trigger := range m.scaled.Spec.Triggers {
				if trigger.Metadata["account"] != topology.AccountStreams {
					t.Errorf("KEDA reads account %v", trigger.Metadata["account"])
				}
			}
		})
	}
}
