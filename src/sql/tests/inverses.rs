//! Inverses, as text; that they work is proven on a server.
