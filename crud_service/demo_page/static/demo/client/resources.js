/** What the services return and accept, as in `components.schemas` of their OpenAPI documents. */
export {};
