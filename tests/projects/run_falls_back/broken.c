#error THE REASON
