-- Finds held and failed deliveries without reading all that succeeded.
CREATE INDEX eventctl_delivery_reason ON eventctl_delivery (reason){where_reason};
