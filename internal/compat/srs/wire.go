package srs

import (
	"encoding/json"

	"github.com/remuda-run/remuda/internal/remuda"
)

// The wire of compat/srs.md A3. Absent members are left out, as the vendor's server
// does.

type aboutWire struct {
	Name       string `json:"name"`
	Vendor     string `json:"vendor"`
	Version    string `json:"version"`
	APIVersion string `json:"api_version"`
}

type errorWire struct {
	Code    int    `json:"code"`
	Message string `json:"error_message"`
	Details string `json:"details,omitempty"`
}

// problemWire is what a request gets that cannot be right: problem details, and an
// error besides (compat/srs.md A7.6).
type problemWire struct {
	Type    string              `json:"type"`
	Title   string              `json:"title"`
	Status  int                 `json:"status"`
	TraceID string              `json:"traceId"`
	Errors  map[string][]string `json:"errors"`
	errorWire
}

// flag is a boolean that may also be a text or a number.
type flag bool

type runspaceCreate struct {
	Name          *string            `json:"name"`
	RunConnection flag               `json:"run_vc_connection_script"`
	Credentials   remuda.Credentials `json:"credentials"`
}

type runspaceWire struct {
	Name         string     `json:"name,omitempty"`
	ID           string     `json:"id"`
	State        string     `json:"state"`
	RunVC        bool       `json:"run_vc_connection_script"`
	VCScript     string     `json:"vc_connection_script_id,omitempty"`
	Error        *errorWire `json:"error_details,omitempty"`
	CreationTime string     `json:"creation_time"`
}

type consoleWire struct {
	ID           string     `json:"id"`
	State        string     `json:"state"`
	CreationTime string     `json:"creation_time"`
	Error        *errorWire `json:"error_details,omitempty"`
}

type parameterWire struct {
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
	Script *string         `json:"script"`
}

type executionCreate struct {
	RunspaceID string          `json:"runspace_id"`
	Name       *string         `json:"name"`
	Script     string          `json:"script"`
	Parameters []parameterWire `json:"script_parameters"`
	Format     *string         `json:"output_objects_format"`
}

type executionWire struct {
	ID         string `json:"id"`
	RunspaceID string `json:"runspace_id"`
	Name       string `json:"name,omitempty"`
	Format     string `json:"output_objects_format"`
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
	StartTime  string `json:"start_time"`
	EndTime    string `json:"end_time,omitempty"`
}

type recordWire struct {
	Message string `json:"message"`
	Time    string `json:"time"`
}

// count is a whole number that may also be a text.
type count int

type providerSettings struct {
	MaxRunspaces  *count `json:"max_number_of_runspaces"`
	IdleMinutes   *count `json:"max_runspace_idle_time_minutes"`
	ActiveMinutes *count `json:"max_runspace_active_time_minutes"`
}

type retentionPolicy struct {
	MaxScripts *count `json:"max_number_of_scripts_per_user"`
	MaxDays    *count `json:"no_older_than_days"`
}

type registrationWire struct {
	Address string `json:"address"`
}

type templateWire struct {
	ID           string   `json:"id"`
	Runtime      string   `json:"script_runtime"`
	ResultType   string   `json:"result_type"`
	Template     string   `json:"script_template"`
	Placeholders []string `json:"placeholders"`
}

type argumentScript struct {
	TemplateID string                 `json:"template_id"`
	Lists      []placeholderValueList `json:"template_placeholder_value_list"`
	Script     string                 `json:"script"`
}

type placeholderValueList struct {
	Values []placeholderValue `json:"values"`
}

type placeholderValue struct {
	Name   string   `json:"placeholder_name"`
	Values []string `json:"value"`
}
