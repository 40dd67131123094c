package strategy

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

// What clients know by heart.
const (
	vendorVersion  = "11.5.0600.00100"
	defaultRuntime = "0F35652CA7D041978BF0CBCB67531203"
	defaultName    = "(Default) Strategy"

	typeRuntime, subtypeRuntime = 80, 20480
	typeScript                  = 76
	acgAll, acgRead             = 255, 197
	projectActive               = 0
)

// administrator is the owner of what is built in.
var administrator = ownerWire{Name: "Administrator", ID: "54F3D26011D2896560009A8E67019608"}

// knownPrivileges are the vendor's privileges that mean something here.
var knownPrivileges = []struct {
	id, name, description string
	action                authz.Action
}{
	{"2", "Create configuration objects", "The privilege required to create and change runtimes.", authz.RuntimeWrite},
	{"301", "Manage runtime", "The privilege required to create, change and delete runtimes.", authz.RuntimeWrite},
	{"302", "Create and edit script", "The privilege required to store scripts.", authz.ScriptWrite},
	{"303", "Use script Python", "The privilege required to evaluate scripts.", authz.ExecutionRun},
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func upper(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }

func (j *changeJournal) text() string {
	if j == nil {
		return ""
	}
	return value(j.UserComments)
}

// vendorTime has whole seconds.
const vendorTime = "2006-01-02T15:04:05.000+0000"

func created(t time.Time) string { return t.UTC().Truncate(time.Second).Format(vendorTime) }

// modified rounds up, so that what was changed in the second in which it was made
// is seen to have changed.
func modified(made, changed time.Time) string {
	up := changed.UTC().Truncate(time.Second)
	if changed.After(made) && changed.After(up) {
		up = up.Add(time.Second)
	}
	return up.Format(vendorTime)
}

// versionID is a version in the form of an id: another one after every change.
func versionID(id string, number int, changed time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", id, number, changed.UnixMicro()))
	return strings.ToUpper(hex.EncodeToString(sum[:16]))
}

func granted(p remuda.Principal, action authz.Action, owner remuda.OrganizationID) int {
	if authz.Check(p, action, owner) == nil {
		return acgAll
	}
	return acgRead
}

func initials(name string) string {
	if name == "" {
		return ""
	}
	c, _ := utf8.DecodeRuneInString(name)
	return strings.ToUpper(string(c))
}

// pick keeps the named keys of an object, of the elements of a list, or of the
// elements of an object's lists when the object itself has none of the keys.
func pick(v any, fields string) (any, error) {
	names := map[string]bool{}
	for name := range strings.SplitSeq(fields, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return v, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if root, ok := tree.(map[string]any); ok && !hasAny(root, names) {
		lists := 0
		for key, member := range root {
			if list, ok := member.([]any); ok {
				root[key] = keep(list, names)
				lists++
			}
		}
		if lists > 0 {
			return root, nil
		}
	}
	return keep(tree, names), nil
}

func hasAny(root map[string]any, names map[string]bool) bool {
	for key := range root {
		if names[key] {
			return true
		}
	}
	return false
}

func keep(tree any, names map[string]bool) any {
	switch v := tree.(type) {
	case []any:
		for i := range v {
			v[i] = keep(v[i], names)
		}
	case map[string]any:
		for key := range v {
			if !names[key] {
				delete(v, key)
			}
		}
	}
	return tree
}

// --- organizations ---

func projectToWire(org remuda.Organization) projectWire {
	made := created(org.CreatedAt)
	return projectWire{
		ID: remuda.ShortID(org.ID), Name: org.Name, ACG: acgAll, Status: projectActive, Description: "", DateCreated: made, DateModified: made, Owner: administrator,
	}
}

// --- runtimes ---

func isDefault(rt remuda.Runtime) bool {
	return rt.Organization == remuda.GlobalOrganization && rt.Name == string(remuda.LanguagePython)
}

func runtimeToWire(rt remuda.Runtime, owner ownerWire, p remuda.Principal) runtimeWire {
	w := runtimeWire{
		Name: rt.Name, ID: remuda.ShortID(rt.ID), Type: typeRuntime, Subtype: subtypeRuntime, Description: rt.Description,
		DateCreated: created(rt.CreatedAt), DateModified: modified(rt.CreatedAt, rt.UpdatedAt), Version: versionID(string(rt.ID), rt.Generation, rt.UpdatedAt),
		ACG: granted(p, authz.RuntimeWrite, rt.Organization), Owner: owner, ACL: []struct{}{}, Whitelist: whitelist(rt.Egress), Packages: packagesToWire(rt),
		Resource: resourceWire{CPU: strconv.FormatFloat(rt.Resources.CPU, 'f', -1, 64), Mem: rt.Resources.MemoryMB}, RuntimeVersion: rt.Version,
		ExecTimeout: int64(rt.ExecTimeout / time.Second), Others: rt.Others, Status: statusToWire(rt.Build.Status), Message: rt.Build.Reason,
		MinCachedInstances: rt.Pool.MinCached, MaxCachedInstances: rt.Pool.MaxCached,
	}
	if w.RuntimeVersion == "" {
		w.RuntimeVersion = rt.Build.Version
	}
	if rt.Organization == remuda.GlobalOrganization {
		w.Owner = administrator
	}
	if isDefault(rt) {
		w.ID, w.Name = defaultRuntime, defaultName
		standard := packageWire{Name: "python", Version: rt.Build.Version, Description: "the interpreter and its standard library", Status: string(remuda.PackageInstalled)}
		w.Packages = append([]packageWire{standard}, w.Packages...)
	}
	return w
}

func statusToWire(s remuda.RuntimeStatus) string {
	if s == "" {
		return string(remuda.RuntimeUnknown)
	}
	return string(s)
}

func whitelist(e remuda.Egress) []string {
	list := make([]string, 0, len(e.CIDRs)+len(e.Names))
	for _, prefix := range e.CIDRs {
		list = append(list, prefix.String())
	}
	return append(list, e.Names...)
}

// packagesToWire joins what was asked for with what has become of it.
func packagesToWire(rt remuda.Runtime) []packageWire {
	list := make([]packageWire, 0, len(rt.Packages))
	for i, asked := range rt.Packages {
		w := packageWire{Name: asked.Name, Version: asked.Version, Description: asked.Description, Status: string(remuda.PackageUnknown)}
		if i < len(rt.Build.Packages) && rt.Build.Packages[i].Name == asked.Name {
			became := rt.Build.Packages[i]
			w.Status = string(became.State)
			if became.Message != "" {
				w.Message = &became.Message
			}
		}
		list = append(list, w)
	}
	return list
}

// cachedByDefault is how many idle instances a runtime keeps at most that says
// nothing of it.
const cachedByDefault = 2

// definition makes a runtime's definition of a request.
func definition(req runtimeRequest, versions remuda.VersionPolicy) (remuda.Definition, error) {
	patch, err := runtimePatch(req, versions)
	if err != nil {
		return remuda.Definition{}, err
	}
	d := remuda.Definition{Name: value(patch.Name), Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MaxCached: cachedByDefault}, VersionPolicy: versions}
	set(&d.Description, patch.Description)
	set(&d.Version, patch.Version)
	set(&d.Resources.CPU, patch.CPU)
	set(&d.Resources.MemoryMB, patch.MemoryMB)
	set(&d.ExecTimeout, patch.ExecTimeout)
	set(&d.Pool.MinCached, patch.MinCached)
	if patch.MaxCached == nil {
		d.Pool.MaxCached = max(d.Pool.MaxCached, d.Pool.MinCached)
	}
	set(&d.Pool.MaxCached, patch.MaxCached)
	set(&d.Egress, patch.Egress)
	set(&d.Packages, patch.Packages)
	set(&d.Others, patch.Others)
	return d, nil
}

func set[T any](field *T, v *T) {
	if v != nil {
		*field = *v
	}
}

// defaultTimeout is what an execTimeout of 0 stands for.
const defaultTimeout = 60 * time.Second

// runtimePatch makes a change of a request. It refuses what has no meaning here;
// what is out of bounds, the service refuses.
func runtimePatch(req runtimeRequest, versions remuda.VersionPolicy) (remuda.RuntimePatch, error) {
	patch := remuda.RuntimePatch{Name: req.Name, Description: req.Description, Others: req.Others}
	var wrong []remuda.FieldError
	if req.RuntimeVersion != nil {
		patch.Version, patch.VersionPolicy = req.RuntimeVersion, &versions
	}
	if req.Resource != nil {
		cpu, err := cores(req.Resource.CPU)
		wrong = append(wrong, err...)
		patch.CPU, patch.MemoryMB = cpu, whole(req.Resource.Mem)
	}
	if req.ExecTimeout != nil {
		timeout := time.Duration(*req.ExecTimeout) * time.Second
		if timeout == 0 {
			timeout = defaultTimeout
		}
		patch.ExecTimeout = &timeout
	}
	patch.MinCached, patch.MaxCached = whole(req.MinCachedInstances), whole(req.MaxCachedInstances)
	if req.Whitelist != nil {
		egress, err := destinations(*req.Whitelist)
		wrong = append(wrong, err...)
		patch.Egress = &egress
	}
	if req.Packages != nil {
		packages := make([]remuda.Package, 0, len(*req.Packages))
		for _, p := range *req.Packages {
			packages = append(packages, remuda.Package{Name: p.Name, Version: p.Version, Description: p.Description})
		}
		patch.Packages = &packages
	}
	if len(wrong) > 0 {
		return patch, remuda.Invalid(wrong...)
	}
	return patch, nil
}

func whole(n *int64) *int {
	if n == nil {
		return nil
	}
	return new(int(min(max(*n, math.MinInt32), math.MaxInt32)))
}

// cores reads a text such as "0.2", or a number.
func cores(raw json.RawMessage) (*float64, []remuda.FieldError) {
	text := string(raw)
	if text == "" || text == "null" {
		return nil, nil
	}
	if raw[0] == '"' && json.Unmarshal(raw, &text) != nil {
		text = ""
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
		return nil, []remuda.FieldError{{Field: "resource.cpu", Message: `must be a number of cores above 0 in a text, such as "0.2"`}}
	}
	return &v, nil
}

// destinations reads a whitelist: ranges of addresses, and as our extension host
// names.
func destinations(list []string) (remuda.Egress, []remuda.FieldError) {
	egress := remuda.Egress{CIDRs: []netip.Prefix{}}
	var wrong []remuda.FieldError
	for i, text := range list {
		prefix, err := netip.ParsePrefix(text)
		_, addressErr := netip.ParseAddr(text)
		switch {
		case err == nil:
			egress.CIDRs = append(egress.CIDRs, prefix)
		case addressErr != nil && strings.Contains(text, ".") && !strings.Contains(text, "/") && strings.ContainsFunc(text, isLetter):
			egress.Names = append(egress.Names, text)
		default:
			wrong = append(wrong, remuda.FieldError{
				Field: fmt.Sprintf("whitelist[%d]", i), Message: "must be a range of addresses such as 10.10.10.0/24, 192.0.2.7/32 or 2001:db8::/32, or a host name with a dot",
			})
		}
	}
	return egress, wrong
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// --- scripts ---

// subtypes of scripts, by what they are used for.
var subtypes = map[string]int{
	"commandManager": 19456, "dataSource": 19459, "transaction": 19460, "pythonSimpleFunction": 19461, "pythonAggFunction": 19462,
	"pythonRelativeFunction": 19463, "pythonNoSortAggFunction": 19464, "pythonNoSortRelativeFunction": 19465,
}

const subtypePython, subtypeNotebook = 19457, 19458

func subtypeOf(sc remuda.Script) int {
	if n, ok := subtypes[sc.Usage]; ok {
		return n
	}
	if sc.Kind == remuda.ScriptNotebook {
		return subtypeNotebook
	}
	return subtypePython
}

var scriptKinds = map[string]remuda.ScriptKind{"python": remuda.ScriptPython, "reserved": remuda.ScriptPython, "jupyterNotebook": remuda.ScriptNotebook}

func decodeContent(text string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !utf8.Valid(raw) {
		return "", remuda.Invalid(remuda.FieldError{Field: "scriptContent", Message: "must be base64 of a source in UTF-8"})
	}
	return string(raw), nil
}

// scriptPatch makes a change of a request; its runtime is for the caller to find.
func scriptPatch(req scriptRequest) (remuda.ScriptPatch, error) {
	patch := remuda.ScriptPatch{Name: req.Name, Description: req.Description, Folder: req.FolderID, Usage: req.ScriptUsageType, Result: req.ScriptResultType}
	if req.ScriptType != nil {
		patch.Kind = new(scriptKinds[*req.ScriptType])
	}
	if req.ScriptContent != nil {
		content, err := decodeContent(*req.ScriptContent)
		if err != nil {
			return patch, err
		}
		patch.Content = &content
	}
	if req.Variables != nil {
		list, err := variables(*req.Variables)
		if err != nil {
			return patch, err
		}
		patch.Variables = &list
	}
	return patch, nil
}

// newScript is a script of what a request says of it.
func newScript(patch remuda.ScriptPatch) remuda.ScriptDefinition {
	d := remuda.ScriptDefinition{Kind: remuda.ScriptPython}
	set(&d.Name, patch.Name)
	set(&d.Description, patch.Description)
	set(&d.Folder, patch.Folder)
	set(&d.Kind, patch.Kind)
	set(&d.Usage, patch.Usage)
	set(&d.Result, patch.Result)
	set(&d.Content, patch.Content)
	set(&d.Runtime, patch.Runtime)
	set(&d.Variables, patch.Variables)
	return d
}

func scriptToCore(sc remuda.Script) scriptCore {
	w := scriptCore{
		Name: sc.Name, ID: remuda.ShortID(sc.ID), Type: typeScript, Subtype: subtypeOf(sc), Description: sc.Description,
		DateCreated: created(sc.CreatedAt), DateModified: modified(sc.CreatedAt, sc.UpdatedAt), FolderID: sc.Folder, ScriptType: "python",
		ScriptContent: base64.StdEncoding.EncodeToString([]byte(sc.Content)), ScriptRuntimeID: defaultRuntime, ScriptUsageType: sc.Usage,
		ScriptResultType: sc.Result, Variables: variablesToWire(sc.Variables),
	}
	if sc.Runtime != "" {
		w.ScriptRuntimeID = remuda.ShortID(sc.Runtime)
	}
	if sc.Kind == remuda.ScriptNotebook {
		w.ScriptType = "jupyterNotebook"
	}
	if w.ScriptResultType == "" {
		w.ScriptResultType = "reserved"
	}
	return w
}

func scriptToWire(sc remuda.Script, owner ownerWire, p remuda.Principal) scriptWire {
	return scriptWire{
		scriptCore: scriptToCore(sc), Version: versionID(string(sc.ID), sc.Revision, sc.UpdatedAt),
		ACG: granted(p, authz.ScriptWrite, sc.Organization), Owner: owner, ACL: []struct{}{},
	}
}

func scriptToItem(sc remuda.Script, p remuda.Principal) scriptItemWire {
	return scriptItemWire{
		scriptCore: scriptToCore(sc), ObjectNames: []struct{}{}, ObjectVersion: versionID(string(sc.ID), sc.Revision, sc.UpdatedAt),
		AccessGranted: granted(p, authz.ScriptWrite, sc.Organization), OwnerID: remuda.ShortID(sc.Owner), ObjectACL: []struct{}{},
	}
}

var variableKinds = map[int]remuda.VariableKind{
	1: remuda.VariableText, 2: remuda.VariableNumber, 3: remuda.VariableDate, 4: remuda.VariableSecret, 5: remuda.VariableTime,
	0: remuda.VariableOther, 4106: remuda.VariableOther, 32769: remuda.VariableOther,
}

// variableTag is what of a variable has no meaning here and is given back.
type variableTag struct {
	Type              int             `json:"type,omitempty"`
	TransactionColumn json.RawMessage `json:"transactionColumn,omitempty"`
	ObjectRef         json.RawMessage `json:"objectRef,omitempty"`
}

func variables(list []variableWire) ([]remuda.ScriptVariable, error) {
	out := make([]remuda.ScriptVariable, 0, len(list))
	for i, w := range list {
		number := 1
		set(&number, w.Type)
		kind, ok := variableKinds[number]
		if !ok {
			return nil, remuda.Invalid(remuda.FieldError{Field: fmt.Sprintf("variables[%d].type", i), Message: "must be one of 0, 1, 2, 3, 4, 5, 4106 and 32769"})
		}
		v := remuda.ScriptVariable{
			ID: w.ID, Name: w.Name, Kind: kind, Value: value(w.Value), Description: w.Description, Multiple: w.Multiple, Prompt: w.Prompt,
			Required: w.Required, Nullable: w.Nullable, Editable: w.Editable == nil || *w.Editable,
		}
		tag := variableTag{TransactionColumn: w.TransactionColumn, ObjectRef: w.ObjectRef}
		if kind == remuda.VariableOther {
			tag.Type = number
		}
		raw, err := json.Marshal(tag)
		if err != nil {
			return nil, remuda.Internal("keeping a variable", err)
		}
		if string(raw) != "{}" {
			v.Tag = string(raw)
		}
		out = append(out, v)
	}
	return out, nil
}

func variablesToWire(list []remuda.ScriptVariable) []variableWire {
	out := make([]variableWire, 0, len(list))
	for _, v := range list {
		var tag variableTag
		_ = json.Unmarshal([]byte(v.Tag), &tag) // another door's tag is nothing here
		number := tag.Type
		for n, kind := range variableKinds {
			if kind == v.Kind && kind != remuda.VariableOther {
				number = n
			}
		}
		w := variableWire{
			ID: v.ID, Name: v.Name, Type: &number, Value: &v.Value, Description: v.Description, Multiple: v.Multiple, Prompt: v.Prompt,
			Required: v.Required, Nullable: v.Nullable, Editable: &v.Editable, TransactionColumn: tag.TransactionColumn, ObjectRef: tag.ObjectRef,
		}
		if v.Kind == remuda.VariableSecret {
			w.Value = nil
		}
		out = append(out, w)
	}
	return out
}

// variableValues reads what a run or an answer gives. A secret comes in a member of
// its own.
func variableValues(list []variableValue) []remuda.VariableValue {
	var out []remuda.VariableValue
	for _, w := range list {
		v := remuda.VariableValue{ID: w.ID, Value: value(w.Value)}
		if w.SecretValueInput != nil {
			v.Value = *w.SecretValueInput
		}
		out = append(out, v)
	}
	return out
}

func answersToWire(list []remuda.ScriptAnswer) answersWire {
	w := answersWire{Answers: []variableValue{}}
	for _, a := range list {
		w.Answers = append(w.Answers, variableValue{ID: a.Variable, Value: &a.Value})
	}
	return w
}

// --- evaluations ---

var statuses = map[remuda.ExecutionState]int{
	remuda.ExecutionQueued: 0, remuda.ExecutionRunning: 1, remuda.ExecutionSuccess: 3, remuda.ExecutionError: 4, remuda.ExecutionLost: 4,
	remuda.ExecutionTimeout: 5, remuda.ExecutionCanceled: 6,
}

func evaluationToWire(r scripts.Result) evaluationWire {
	w := evaluationWire{
		Status: statuses[r.Execution.State], Message: messageOfRun(r.Execution),
		Results: resultsWire{Output: output(r.Execution), Stdout: strings.ToValidUTF8(string(r.Stdout), "\uFFFD"), Stderr: stderr(r)},
	}
	return w
}

// output is the value of a script as JSON; of one that has no such form, its text.
func output(ex remuda.Execution) *string {
	switch {
	case ex.State != remuda.ExecutionSuccess || ex.Value == nil:
		return nil
	case ex.Value.JSON != nil:
		return new(string(ex.Value.JSON))
	}
	text, err := json.Marshal(ex.Value.Text)
	if err != nil { // a text; cannot fail
		return nil
	}
	return new(string(text))
}

// stderr is what the script wrote there and, as of a program of its own, the
// exception that ended it.
func stderr(r scripts.Result) string {
	text := strings.ToValidUTF8(string(r.Stderr), "\uFFFD")
	if r.Execution.Error == nil || r.Execution.Error.Traceback == "" {
		return text
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + r.Execution.Error.Traceback
}

func messageOfRun(ex remuda.Execution) string {
	switch {
	case !ex.State.Final() || ex.State == remuda.ExecutionSuccess:
		return ""
	case ex.Error != nil && ex.Error.Message != "":
		return ex.Error.Type + ": " + ex.Error.Message
	case ex.Error != nil:
		return ex.Error.Type
	case ex.Reason != "":
		return ex.Reason
	case ex.ExitCode != nil:
		return fmt.Sprintf("the script ended with exit code %d", *ex.ExitCode)
	}
	return "the evaluation ended in state " + string(ex.State)
}

var lastStatuses = map[remuda.ExecutionState]string{remuda.ExecutionSuccess: "succeeded", remuda.ExecutionCanceled: "cancelled"}

func historyToWire(r scripts.Result) historyItemWire {
	at := r.Execution.CreatedAt
	set(&at, r.Execution.StartedAt)
	w := historyItemWire{ID: remuda.ShortID(r.Run.Script), ExecutionTime: at.UTC().Format("2006-01-02T15:04:05.000Z"), LastStatus: "failed"}
	if s, ok := lastStatuses[r.Execution.State]; ok {
		w.LastStatus = s
	}
	e := evaluationToWire(r)
	w.Log = e.Results.Stdout + e.Results.Stderr
	if w.Log == "" {
		w.Log = e.Message
	}
	return w
}
