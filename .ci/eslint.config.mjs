// How the page's script is linted: the rules that ESLint recommends, and a few more.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.browser },
    rules: {
      "eqeqeq": "error", "no-var": "error", "prefer-const": "error", "no-shadow": "error",
      "no-implicit-globals": "error", "no-eval": "error", "no-implied-eval": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "none" }],
    },
  },
];
