// What BuildKit 0.34 makes of Dockerfiles, words and ignore rules: the recorded outcomes of
// test_beside_buildkit.py. In a module that requires github.com/moby/buildkit v0.34.2 and
// github.com/moby/patternmatcher v0.6.1:
//
//	go run buildkit_oracle.go CORPUS < buildkit.json > new.json
//
// Reads a JSON array of cases, an input and its outcome each, and writes it with new outcomes:
// {"file": name in CORPUS}, {"word", "escape", "quotes"}, {"rules"}.
package main

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

type testCase struct {
	File    string `json:"file,omitempty"`
	Word    string `json:"word,omitempty"`
	Escape  string `json:"escape,omitempty"`
	Quotes  bool   `json:"quotes,omitempty"`
	Rules   string `json:"rules,omitempty"`
	Outcome any    `json:"outcome"`
}

// The same as in as_buildkit.py.
var values = map[string]string{
	"A": "abcabc", "B": "", "C": "a/b*c", "D": "x y  z", "E": "\"q'", "F": "\\n$A",
	"LONG": "foo/bar/baz.tar.gz", "é": "ü", "9": "n",
}

var paths = strings.Fields("a b c foo a/b a/b/c foo/a foo/a/b/c b/foo/c .a a.b x é a/foo/b/foo/c " +
	"^a a^b abc foo/.git/x a+b (a) {a} a$ 1 a1 b/a/c #a !a [a] a/x/b aa/bb/cc/dd")

func failed(err error) any { return map[string]any{"error": err.Error()} }

func words(escape rune, values map[string]string) func(string) (string, error) {
	lex := shell.NewLex(escape)
	return func(word string) (string, error) {
		text, _, err := lex.ProcessWord(word, getter(values))
		return text, err
	}
}

func getter(values map[string]string) shell.EnvGetter {
	pairs := []string{}
	for name, value := range values {
		pairs = append(pairs, name+"="+value)
	}
	return shell.EnvsFromSlice(pairs)
}

// command describes an instruction as written, and says whether its words can be read.
func command(c any, escape rune) (map[string]any, error) {
	described := map[string]any{"kind": reflect.TypeOf(c).Elem().Name(), "fields": plain(c)}
	described["code"] = c.(interface{ String() string }).String()
	lines := c.(interface{ Location() []parser.Range }).Location()
	described["lines"] = []int{lines[0].Start.Line, lines[len(lines)-1].End.Line}
	if run, ok := c.(*instructions.RunCommand); ok {
		if network := instructions.GetNetwork(run); network != instructions.NetworkDefault {
			described["network"] = network
		}
	}
	if words_, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if err := words_.Expand(words(escape, nil)); err != nil {
			return nil, err
		}
	}
	if run, ok := c.(*instructions.RunCommand); ok {
		mounts := instructions.GetMounts(run)
		for _, mount := range mounts {
			complete(mount)
		}
		described["mounts"] = plain(mounts)
		delete(described["fields"].(map[string]any), "FlagsUsed") // in no order
	}
	return pruned(described).(map[string]any), nil
}

// complete does to a mount what dockerfile2llb does later.
func complete(mount *instructions.Mount) {
	switch mount.Type {
	case instructions.MountTypeCache:
		if mount.CacheID == "" {
			mount.CacheID = path.Clean(mount.Target)
		}
		if mount.CacheSharing == "" {
			mount.CacheSharing = instructions.MountSharingShared
		}
	case instructions.MountTypeSecret:
		mount.ReadOnly = false // not asked
		if mount.Source != "" {
			mount.CacheID, mount.Source = mount.Source, ""
		}
		if mount.CacheID == "" {
			mount.CacheID = path.Base(mount.Target)
		}
		if mount.Target == "" && mount.Env == nil {
			mount.Target = "/run/secrets/" + path.Base(mount.CacheID)
		}
		if mount.Mode == nil {
			mode := uint64(0o400)
			mount.Mode = &mode
		}
	}
}

func plain(value any) any {
	text, _ := json.Marshal(value)
	var decoded any
	_ = json.Unmarshal(text, &decoded)
	return pruned(decoded)
}

// pruned leaves out what is empty, so that the recorded file is small.
func pruned(value any) any {
	fields, ok := value.(map[string]any)
	if list, isList := value.([]any); isList {
		for i := range list {
			list[i] = pruned(list[i])
		}
	}
	if !ok {
		return value
	}
	delete(fields, "DocComment") // of ARG: ours has all comments
	for name, field := range fields {
		if list, isList := field.([]any); isList && len(list) == 0 {
			delete(fields, name)
			continue
		}
		switch value := field.(type) {
		case nil:
			delete(fields, name)
		case string, bool, float64:
			if reflect.ValueOf(value).IsZero() {
				delete(fields, name)
			}
		default:
			fields[name] = pruned(field)
		}
	}
	return fields
}

func parse(text string) any {
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return failed(err)
	}
	stages, arguments, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{}))
	if err != nil {
		return failed(err)
	}
	described := []any{}
	for i := range arguments {
		argument, err := command(&arguments[i], parsed.EscapeToken)
		if err != nil {
			return failed(err)
		}
		described = append(described, argument)
	}
	for _, stage := range stages {
		described = append(described, map[string]any{"kind": "Stage", "fields": pruned(map[string]any{
			"name": stage.Name, "base": stage.BaseName, "platform": stage.Platform,
		})})
		for _, each := range stage.Commands {
			instruction, err := command(each, parsed.EscapeToken)
			if err != nil {
				return failed(err)
			}
			described = append(described, instruction)
		}
	}
	return described
}

func expand(c testCase) any {
	lex := shell.NewLex([]rune(c.Escape)[0])
	lex.SkipProcessQuotes = !c.Quotes
	found, err := lex.ProcessWordWithMatches(c.Word, getter(values))
	if err != nil {
		return failed(err)
	}
	return map[string]any{"text": found.Result, "words": found.Words}
}

func excluded(c testCase) any {
	patterns, err := ignorefile.ReadAll(strings.NewReader(c.Rules))
	if err != nil {
		return failed(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return failed(err)
	}
	found := []string{}
	for _, path := range paths {
		hidden, above := false, patternmatcher.MatchInfo{}
		components := strings.Split(path, "/")
		for i := range components {
			hidden, above, err = matcher.MatchesUsingParentResults(strings.Join(components[:i+1], "/"), above)
			if err != nil {
				return failed(err)
			}
		}
		if hidden {
			found = append(found, path)
		}
	}
	return found
}

func main() {
	var cases []testCase
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	for i := range cases {
		switch {
		case cases[i].File != "":
			text, err := os.ReadFile(filepath.Join(os.Args[1], cases[i].File))
			if err != nil {
				panic(err)
			}
			cases[i].Outcome = parse(string(text))
		case cases[i].Rules != "":
			cases[i].Outcome = excluded(cases[i])
		default:
			cases[i].Outcome = expand(cases[i])
		}
		separator := ",\n"
		if i == 0 {
			separator = "[\n"
		}
		line, _ := json.Marshal(cases[i])
		_, _ = os.Stdout.WriteString(separator + string(line))
	}
	_, _ = os.Stdout.WriteString("\n]\n")
}
