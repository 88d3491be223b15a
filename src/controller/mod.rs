//! Edge: the only user of the Kubernetes runtime.
