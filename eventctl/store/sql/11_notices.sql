-- What belongs to a delivery or an event is found without reading all notices, of which each event
-- with a deadline has one.
CREATE INDEX eventctl_notice_delivery ON eventctl_notice (delivery_id){where_delivery};
CREATE INDEX eventctl_notice_event ON eventctl_notice (event_id){where_event};
