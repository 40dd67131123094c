package strategy

import "encoding/json"

// Requests. A nil pointer is an absent field or null.

type loginRequest struct {
	Username      *string         `json:"username"`
	Password      *string         `json:"password"`
	LoginMode     json.RawMessage `json:"loginMode"` // a number, or its digits
	IdentityToken *string         `json:"identityToken"`
}

type changeJournal struct {
	UserComments *string `json:"userComments"`
}

type runtimeRequest struct {
	Name               *string          `json:"name"`
	Description        *string          `json:"description"`
	Whitelist          *[]string        `json:"whitelist"`
	Packages           *[]packageWire   `json:"packages"`
	Resource           *resourceRequest `json:"resource"`
	ExecTimeout        *int64           `json:"execTimeout"`
	MinCachedInstances *int64           `json:"minCachedInstances"`
	MaxCachedInstances *int64           `json:"maxCachedInstances"`
	RuntimeVersion     *string          `json:"runtimeVersion"`
	Others             *string          `json:"others"`
	ChangeJournal      *changeJournal   `json:"changeJournal"`
}

type resourceRequest struct {
	CPU json.RawMessage `json:"cpu"` // a text, or a number
	Mem *int64          `json:"mem"`
}

type scriptRequest struct {
	Name             *string         `json:"name"`
	Description      *string         `json:"description"`
	ScriptContent    *string         `json:"scriptContent"`
	ScriptRuntimeID  *string         `json:"scriptRuntimeId"`
	Variables        *[]variableWire `json:"variables"`
	ScriptType       *string         `json:"scriptType"`
	FolderID         *string         `json:"folderId"`
	ScriptUsageType  *string         `json:"scriptUsageType"`
	ScriptResultType *string         `json:"scriptResultType"`
	ChangeJournal    *changeJournal  `json:"changeJournal"`
}

type evaluationRequest struct {
	ScriptContent   string          `json:"scriptContent"`
	ScriptRuntimeID *string         `json:"scriptRuntimeId"`
	Variables       *[]variableWire `json:"variables"`
	ScriptID        *string         `json:"scriptId"`
}

type scriptEvaluationRequest struct {
	Variables []variableValue `json:"variables"`
}

type answersWire struct {
	Answers []variableValue `json:"answers"`
}

// Both ways.

type packageWire struct {
	Name        string  `json:"name"`
	Version     string  `json:"version"`
	Description string  `json:"description"`
	Status      string  `json:"status,omitempty"`
	Message     *string `json:"message,omitempty"`
}

type variableWire struct {
	ID                string          `json:"id"`
	Name              string          `json:"name"`
	Type              *int            `json:"type"`
	Value             *string         `json:"value,omitempty"`
	Description       string          `json:"desc"`
	Multiple          bool            `json:"multiple"`
	Prompt            bool            `json:"prompt"`
	Required          bool            `json:"required"`
	Nullable          bool            `json:"nullable"`
	Editable          *bool           `json:"editable"`
	TransactionColumn json.RawMessage `json:"transactionColumn,omitempty"`
	ObjectRef         json.RawMessage `json:"objectRef,omitempty"`
}

type variableValue struct {
	ID               string  `json:"id"`
	Value            *string `json:"value,omitempty"`
	SecretValueInput *string `json:"secretValueInput,omitempty"`
}

// Answers.

type errorWire struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	TicketID string `json:"ticketId"`
}

type idWire struct {
	ID string `json:"id"`
}

type ownerWire struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

type statusWire struct {
	UpSince                    int64  `json:"upSince"`
	UpTime                     int64  `json:"upTime"`
	UpTimeText                 string `json:"upTimeText"`
	WebVersion                 string `json:"webVersion"`
	IsIServerConfigured        bool   `json:"isIServerConfigured"`
	IServerVersion             string `json:"iServerVersion"`
	MinMobileCompatibleVersion string `json:"minMobileCompatibleVersion"`
	DeploymentType             string `json:"deploymentType"`
}

type apiTokenWire struct {
	APIToken string `json:"apiToken"`
}

type sessionWire struct {
	Locale     int    `json:"locale"`
	MaxSearch  int    `json:"maxSearch"`
	WorkingSet int    `json:"workingSet"`
	Timeout    int64  `json:"timeout"`
	ID         string `json:"id"`
	FullName   string `json:"fullName"`
	Initials   string `json:"initials"`
}

type userInfoWire struct {
	ID       string `json:"id"`
	FullName string `json:"fullName"`
	Initials string `json:"initials"`
	Username string `json:"username"`
}

type privilegesWire struct {
	Privileges []privilegeWire `json:"privileges"`
}

type privilegeWire struct {
	ID                 string             `json:"id"`
	Name               string             `json:"name"`
	Description        string             `json:"description"`
	IsUserLevelAllowed bool               `json:"isUserLevelAllowed"`
	Projects           []projectPrivilege `json:"projects"`
}

type projectPrivilege struct {
	ID        string `json:"id"`
	IsAllowed bool   `json:"isAllowed"`
}

type projectWire struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	ACG          int       `json:"acg"`
	Status       int       `json:"status"`
	Alias        string    `json:"alias"`
	Description  string    `json:"description"`
	DateCreated  string    `json:"dateCreated"`
	DateModified string    `json:"dateModified"`
	Owner        ownerWire `json:"owner"`
}

type runtimesWire struct {
	Runtimes []runtimeWire `json:"runtimes"`
}

type runtimeWire struct {
	Name               string        `json:"name"`
	ID                 string        `json:"id"`
	Type               int           `json:"type"`
	Subtype            int           `json:"subtype"`
	Description        string        `json:"description"`
	DateCreated        string        `json:"dateCreated"`
	DateModified       string        `json:"dateModified"`
	Version            string        `json:"version"`
	ACG                int           `json:"acg"`
	Owner              ownerWire     `json:"owner"`
	ACL                []struct{}    `json:"acl"`
	Whitelist          []string      `json:"whitelist"`
	Packages           []packageWire `json:"packages"`
	Resource           resourceWire  `json:"resource"`
	RuntimeVersion     string        `json:"runtimeVersion"`
	ExecTimeout        int64         `json:"execTimeout"`
	Others             string        `json:"others"`
	Status             string        `json:"status"`
	Message            string        `json:"message,omitempty"`
	MinCachedInstances int           `json:"minCachedInstances"`
	MaxCachedInstances int           `json:"maxCachedInstances"`
}

type resourceWire struct {
	CPU string `json:"cpu"`
	Mem int    `json:"mem"`
}

type versionsWire struct {
	Versions []string `json:"versions"`
}

// scriptCore is what a script has in a list and alone.
type scriptCore struct {
	Name             string         `json:"name"`
	ID               string         `json:"id"`
	Type             int            `json:"type"`
	Subtype          int            `json:"subtype"`
	Description      string         `json:"description"`
	DateCreated      string         `json:"dateCreated"`
	DateModified     string         `json:"dateModified"`
	FolderID         string         `json:"folderId"`
	ScriptType       string         `json:"scriptType"`
	ScriptContent    string         `json:"scriptContent"`
	ScriptRuntimeID  string         `json:"scriptRuntimeId"`
	ScriptUsageType  string         `json:"scriptUsageType"`
	ScriptResultType string         `json:"scriptResultType"`
	Variables        []variableWire `json:"variables"`
}

type scriptWire struct {
	scriptCore

	Version string     `json:"version"`
	ACG     int        `json:"acg"`
	Owner   ownerWire  `json:"owner"`
	ACL     []struct{} `json:"acl"`
}

type scriptListWire struct {
	TotalItems int              `json:"totalItems"`
	Result     []scriptItemWire `json:"result"`
}

type scriptItemWire struct {
	scriptCore

	ObjectNames   []struct{} `json:"objectNames"`
	ObjectVersion string     `json:"objectVersion"`
	AccessGranted int        `json:"accessGranted"`
	OwnerID       string     `json:"ownerId"`
	ObjectACL     []struct{} `json:"objectAcl"`
}

type evaluationWire struct {
	Status  int         `json:"status"`
	Message string      `json:"message"`
	Results resultsWire `json:"results"`
}

type resultsWire struct {
	Output *string `json:"output,omitempty"`
	Stdout string  `json:"stdout"`
	Stderr string  `json:"stderr"`
}

type historyWire struct {
	History []historyItemWire `json:"history"`
}

type historyItemWire struct {
	ID            string `json:"id"`
	ExecutionTime string `json:"executionTime"`
	LastStatus    string `json:"lastStatus"`
	Log           string `json:"log"`
}
