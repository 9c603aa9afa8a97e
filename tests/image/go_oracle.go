// What Go's text/template makes of templates: reads {"TEMPLATE": anything} in JSON, writes
// {"TEMPLATE": ["kind", "text"]}, where kind is printed, parse or execute. The value is the one of
// template_values.py.
//
//	go run go_oracle.go < go_templates.json > new.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"
)

type Health struct {
	Test     []string
	Interval time.Duration
}

type Config struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Cmd          []string
	Nil          []string
	Labels       map[string]string
	NilMap       map[string]string
	Healthcheck  *Health
	NilCheck     *Health
	Flag         bool
}

type Root struct {
	Type   string
	Layers []string
}

type Data struct {
	ID        string
	RepoTags  []string
	Config    *Config
	NilConfig *Config
	Size      int64
	Count     int
	F         float64
	RootFS    Root
	Any       any
	NilAny    any
	Mixed     []any
	Raw       map[string]any
	Flag      bool
	U         []byte
}

var data = Data{
	ID:       "sha256:0123456789abcdef",
	RepoTags: []string{"a:1", "b:2"},
	Config: &Config{
		User:         "u<1>&",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}},
		Env:          []string{"A=1", "B=two words", "ä=€"},
		Cmd:          []string{"sh"},
		Labels:       map[string]string{"b": "2", "a": "1"},
		Healthcheck:  &Health{[]string{"CMD", "x"}, 90 * time.Second},
		Flag:         true,
	},
	Size:   12345,
	Count:  -7,
	F:      1.5,
	RootFS: Root{"layers", []string{"x", "y"}},
	Any:    "any",
	Mixed:  []any{1, "a", nil, true, 2.0, []string{"q"}},
	Raw: map[string]any{
		"k": "v", "n": nil, "m": map[string]any{"x": 1.0}, "l": []any{"p", false},
	},
	Flag: true,
	U:    []byte("hi"),
}

// The functions that docker adds, as its documentation describes them.
var docker = template.FuncMap{
	"json":  marshal,
	"split": strings.Split,
	"join":  join,
	"title": strings.Title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(text string, before, after int) string {
		if text == "" {
			return ""
		}
		return strings.Repeat(" ", before) + text + strings.Repeat(" ", after)
	},
	"truncate": func(text string, length int) string {
		if len(text) < length {
			return text
		}
		return text[:length]
	},
}

func marshal(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func join(items any, separator string) (string, error) {
	if items == nil {
		return "", nil
	}
	var shown []string
	switch list := reflect.ValueOf(items); list.Kind() {
	case reflect.Slice:
		for at := range list.Len() {
			shown = append(shown, fmt.Sprint(list.Index(at).Interface()))
		}
	case reflect.Map:
		for _, key := range list.MapKeys() {
			shown = append(shown, fmt.Sprint(list.MapIndex(key).Interface()))
		}
		slices.Sort(shown)
	default:
		return "", fmt.Errorf("expected slice, got %T", items)
	}
	return strings.Join(shown, separator), nil
}

// Where the pointers inside the value lead to says nothing; overlayfs_py has one address for all.
var addresses = strings.NewReplacer(
	fmt.Sprintf("%p", data.Config), "0xc000000000",
	fmt.Sprintf("%p", data.Config.Healthcheck), "0xc000000000",
)

func try(text string) [2]string {
	parsed, err := template.New("").Funcs(docker).Parse(text)
	if err != nil {
		return [2]string{"parse", err.Error()}
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, data); err != nil {
		return [2]string{"execute", addresses.Replace(err.Error())}
	}
	return [2]string{"printed", addresses.Replace(out.String())}
}

func main() {
	var templates map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&templates); err != nil {
		panic(err)
	}
	results := map[string][2]string{}
	for text := range templates {
		results[text] = try(text)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(results); err != nil {
		panic(err)
	}
}
