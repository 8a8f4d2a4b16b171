"""What runs, models, teams and stages use and cost, by the prices that the user declared."""
